/** The end of the process where an ordinary one could take for ever. */
import koffi from 'koffi';

/**
 * Ends the process at once. `process.exit` waits for every thread, and a thread that the kernel holds (a disk that
 * stands still, a file system that is not answered) may never end. What was printed has been written: on Linux that
 * happens at once.
 */
export function leaveAtOnce(exitCode: number): never {
	if (process.stdin.isTTY) {
		process.stdin.setRawMode(false);
	}

	const exit = koffi.load(null).func('void _exit(int)') as (code: number) => void;
	exit(exitCode);
	throw new Error('the process goes on after its end');
}
