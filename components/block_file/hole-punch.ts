/** Room in a file, taken from the host's file system and given back: fallocate(2), for which Node has no function. */
import {getSystemErrorName} from 'node:util';
import koffi from 'koffi';

/** FALLOC_FL_KEEP_SIZE. */
const keepSize = 1;
/** FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE. */
const punchAndKeepSize = 1 | 2;

type Fallocate = (fd: number, mode: number, offset: number, byteLength: number) => number;

let fallocate: Fallocate | undefined;

function failure(errno: number): NodeJS.ErrnoException {
	const code = getSystemErrorName(-errno);
	return Object.assign(new Error(`${code}: fallocate`), {code, errno: -errno, syscall: 'fallocate'});
}

/**
 * Turns a range of a file into a hole that reads as zeroes; false where the file system or device cannot do that.
 * @throws NodeJS.ErrnoException
 */
export function punchHole(fd: number, offset: number, byteLength: number): boolean {
	return changeRoom(fd, punchAndKeepSize, {offset, byteLength});
}

/**
 * Takes room for a range of a file, whose content stays; false where the file system or device cannot do that.
 * @throws NodeJS.ErrnoException
 */
export function takeRoom(fd: number, offset: number, byteLength: number): boolean {
	return changeRoom(fd, keepSize, {offset, byteLength});
}

function changeRoom(fd: number, mode: number, {offset, byteLength}: {offset: number; byteLength: number}): boolean {
	fallocate ??= koffi.load(null).func('int fallocate(int fd, int mode, int64_t offset, int64_t length)') as Fallocate;
	const {EINTR, ENOSYS, EOPNOTSUPP} = koffi.os.errno;
	while (fallocate(fd, mode, offset, byteLength) !== 0) {
		const errno = koffi.errno();
		if (errno === EOPNOTSUPP || errno === ENOSYS) {
			return false;
		}

		if (errno !== EINTR) {
			throw failure(errno);
		}
	}

	return true;
}
