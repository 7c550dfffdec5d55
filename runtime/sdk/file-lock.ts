/** Exclusive locks on files that other programs write to at their peril. The kernel drops a lock with its descriptor. */
import koffi from 'koffi';

/** flock(2): exclusive, and do not wait. */
const exclusiveNow = 2 | 4;

let flock: ((fd: number, operation: number) => number) | undefined;

/**
 * Takes the exclusive lock of an open file (flock), without waiting; false where another descriptor holds it, be it of
 * this process or of another one. It ends when the descriptor is closed or its process dies.
 * @throws Error where the file system cannot lock
 */
export function lockFile(fd: number): boolean {
	flock ??= koffi.load(null).func('int flock(int fd, int operation)') as (fd: number, operation: number) => number;
	if (flock(fd, exclusiveNow) === 0) {
		return true;
	}

	const errno = koffi.errno();
	if (errno === koffi.os.errno.EWOULDBLOCK || errno === koffi.os.errno.EAGAIN) {
		return false;
	}

	throw new Error(`flock failed with error ${errno}`);
}
