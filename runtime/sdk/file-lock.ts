/**
 * Exclusive locks on files that other programs write to at their peril. The kernel drops a lock with its descriptor.
 */
import koffi from 'koffi';

/** flock(2): exclusive, and do not wait. */
const exclusiveNow = 2 | 4;

const {errno} = koffi.os;

/** By the name of the error; what a network file system is to blame for, mostly. */
const reasons: Readonly<Record<string, string>> = {
	ENOLCK: 'its file system has no locks to give; on NFS, start the lock service (rpc.statd) or mount it with "local_lock=flock"',
	ENOSYS: 'its file system knows no locks; keep it on another one',
	EOPNOTSUPP: 'its file system knows no locks; keep it on another one',
	EINVAL: 'its file system knows no locks; keep it on another one',
	EBADF: 'its file system locks only what is open for writing, as NFS does; mount it with "local_lock=flock", or keep it on another one',
	EIO: 'the lock service does not answer; see whether the server of the file system is reachable',
	ESTALE: 'it is gone from the server of its file system; mount it anew',
};

/** A lock that cannot be given, whoever else wants it. */
export class LockError extends Error {
	override readonly name = 'LockError';

	/** @param code as ENOLCK */
	constructor(
		readonly code: string,
		reason: string,
	) {
		super(reason);
	}
}

/** What an error number of flock means. */
export function lockErrorOf(error: number): LockError {
	const names = Object.entries(errno)
		.filter(([, value]) => value === error)
		.map(([name]) => name);
	const code = names.find(name => Object.hasOwn(reasons, name)) ?? names.at(0) ?? `error ${error}`;
	return new LockError(
		code,
		`${reasons[code] ?? 'its file system does not lock it; keep it on another one'} (${code})`,
	);
}

let flock: ((fd: number, operation: number) => number) | undefined;

/**
 * Takes the exclusive lock of an open file (flock), without waiting; false where another descriptor holds it, be it of
 * this process or of another one. It ends when the descriptor is closed or its process dies.
 * @throws LockError where the file system cannot lock
 */
export function lockFile(fd: number): boolean {
	flock ??= koffi.load(null).func('int flock(int fd, int operation)') as (fd: number, operation: number) => number;
	for (;;) {
		if (flock(fd, exclusiveNow) === 0) {
			return true;
		}

		const error = koffi.errno();
		if (error === errno.EWOULDBLOCK || error === errno.EAGAIN) {
			return false;
		}

		if (error !== errno.EINTR) {
			throw lockErrorOf(error);
		}
	}
}
