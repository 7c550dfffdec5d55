/** What keeps the file system from being mounted, as far as that shows without trying. */
import fs from 'node:fs';
import {delimiter, dirname, join} from 'node:path';
import type {Obstacle} from '../../runtime/sdk/component.js';
import {whyDirectoryUnmakable} from '../../runtime/sdk/host-path.js';
import {installation} from './system-program.js';

const device = '/dev/fuse';

const otherwise = 'or leave mount="…" out: "runtime shell" shows the same tree';

function isInstalled(program: string): boolean {
	return (process.env['PATH'] ?? '').split(delimiter).some(folder => {
		try {
			fs.accessSync(join(folder, program), fs.constants.X_OK);
			return true;
		} catch {
			return false;
		}
	});
}

/** Whether /etc/fuse.conf lets users share their mounts. */
function mayShare(): boolean {
	try {
		return /^\s*user_allow_other\s*$/m.test(fs.readFileSync('/etc/fuse.conf', 'utf8'));
	} catch {
		return false;
	}
}

export function mountObstacle(path: string, allowOther: boolean): Pick<Obstacle, 'what' | 'remedy'> | undefined {
	const isRoot = process.getuid?.() === 0;
	const program = isRoot ? 'mount' : 'fusermount3';
	if (!fs.existsSync(device)) {
		return {
			what: `no file system can be mounted: there is no ${device}`,
			remedy: `load the kernel module fuse, ${otherwise}`,
		};
	}

	if (!isInstalled(program)) {
		return {
			what: `no file system can be mounted: the program ${program} is missing`,
			remedy: `${installation(program)}, ${otherwise}`,
		};
	}

	if (allowOther && !isRoot && !mayShare()) {
		return {
			what: 'allow_other="yes" is refused to this user',
			remedy: 'write user_allow_other into /etc/fuse.conf, or leave it out',
		};
	}

	// Not the place itself: where it is mounted already, whoever looks waits for the component that serves it.
	const reason = whyDirectoryUnmakable(dirname(path));
	return reason === undefined
		? undefined
		: {what: `no file system can be mounted at ${path}: ${reason}`, remedy: `correct the path, ${otherwise}`};
}
