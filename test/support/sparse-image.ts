/** Looks into images of any length, which are sparse, and alters single bytes of them. */
import {closeSync, openSync, readSync, writeSync} from 'node:fs';

const chunkLength = 4 * 2 ** 20;

/** Where in the file the bytes first stand; -1 where they do not. */
export function placeOf(path: string, bytes: Uint8Array): number {
	const file = openSync(path, 'r');
	try {
		const chunk = Buffer.alloc(chunkLength + bytes.length);
		for (let start = 0; ; start += chunkLength) {
			const length = readSync(file, chunk, 0, chunk.length, start);
			const index = chunk.subarray(0, length).indexOf(bytes);
			if (index !== -1 || length < chunk.length) {
				return index === -1 ? -1 : start + index;
			}
		}
	} finally {
		closeSync(file);
	}
}

/** Flips bits of the byte at `offset`. */
export function flipBits(path: string, offset: number, bits: number): void {
	const file = openSync(path, 'r+');
	try {
		const byte = Buffer.alloc(1);
		readSync(file, byte, 0, 1, offset);
		byte[0] ^= bits;
		writeSync(file, byte, 0, 1, offset);
	} finally {
		closeSync(file);
	}
}
