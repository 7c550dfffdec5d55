/**
 * What the page cache holds of a file is read without waiting for the disk: preadv2(2) with RWF_NOWAIT, for which Node
 * has no function. What it does not hold it can be told to read, without waiting either: posix_fadvise(2).
 */
import koffi from 'koffi';
import {addressOf} from '../../runtime/sdk/memory-address.js';

const readWithoutWaiting = 8;
const willBeNeeded = 3;

/** The page cache does not hold the next byte. */
export const absent = -1;
/** The file's file system, or whoever confines this process, does not know reads that do not wait. */
export const unknown = -2;

export interface PageCache {
	/**
	 * Reads as much from `position` on as the page cache holds. @returns bytes, 0 at the file's end; `absent` also
	 * where the read failed, which one that waits will tell; `unknown`
	 */
	read(fd: number, data: Uint8Array, offset: number, length: number, position: number): number;
	/** Has the disk read a range, if it likes, while this thread goes on. */
	readAhead(fd: number, position: number, length: number): void;
}

/** Of one `struct iovec`: a pointer and a length, 64 bits each. */
const vectorLength = 16;

export function openPageCache(): PageCache {
	const library = koffi.load(null);
	const preadv2 = library.func(
		'int64_t preadv2(int fd, uint64_t vector, int count, int64_t position, int flags)',
	) as unknown as (fd: number, vector: number, count: number, position: number, flags: number) => number;
	const advise = library.func(
		'int posix_fadvise(int fd, int64_t position, int64_t length, int advice)',
	) as unknown as (fd: number, position: number, length: number, advice: number) => number;
	const {EINVAL, ENOSYS, EOPNOTSUPP, EPERM} = koffi.os.errno;
	const unknownErrors = new Set([EINVAL, ENOSYS, EOPNOTSUPP, EPERM]);
	const vector = new Uint32Array(vectorLength / Uint32Array.BYTES_PER_ELEMENT);
	const vectorAddress = addressOf(new Uint8Array(vector.buffer));
	return {
		read(fd, data, offset, length, position) {
			const address = addressOf(data) + offset;
			vector[0] = address % 2 ** 32;
			vector[1] = Math.floor(address / 2 ** 32);
			vector[2] = length;
			const byteLength = preadv2(fd, vectorAddress, 1, position, readWithoutWaiting);
			if (byteLength >= 0) {
				return byteLength;
			}

			return unknownErrors.has(koffi.errno()) ? unknown : absent;
		},
		readAhead(fd, position, length) {
			advise(fd, position, length, willBeNeeded);
		},
	};
}
