/**
 * A small program beside this one that clears the mount away when this one has died, in whatever way: then the pipe
 * between them breaks. Without it, whoever looks at the mount point would find a dead file system.
 */
import {spawn, type ChildProcess} from 'node:child_process';
import {helperEnvironment} from './system-program.js';

/** Arguments: the mount's source, its path, and whether root mounted it. A later mount has another source. */
const script = `
trap '' HUP INT TERM
read -r word
[ "$word" = done ] && exit
grep -q " - fuse.cbe $1 " /proc/self/mountinfo || exit
if [ "$3" = root ]; then umount -f "$2" || umount -l "$2"; else fusermount3 -u -z "$2"; fi
`;

export interface Watchdog {
	/** The mount is gone, or its clearing is done otherwise. */
	dismiss(): void;
}

export function startWatchdog(source: string, path: string, isRoot: boolean): Watchdog {
	const child: ChildProcess = spawn(
		'/bin/sh',
		['-c', script, 'cbe-watchdog', source, path, isRoot ? 'root' : 'user'],
		{
			stdio: ['pipe', 'ignore', 'ignore'],
			detached: true,
			cwd: '/',
			env: helperEnvironment(),
		},
	);
	child.on('error', () => undefined);
	child.stdin?.on('error', () => undefined);
	child.unref();
	return {
		dismiss() {
			child.stdin?.end('done\n');
		},
	};
}
