/** Block contents by number, so that every block that is read back says which write it is of. */
import {blockSize} from '../../components/sessions/block.js';

/** A whole number that stands for the content of one block; 0 are zeroes. */
export type Stamp = number;

/** What a block holds that is no content of any stamp. */
export const garbageStamp = -1;

const patternSize = 8;

function patternOf(stamp: Stamp): Buffer {
	const pattern = Buffer.alloc(patternSize);
	pattern.writeUInt32LE(stamp, 0);
	pattern.writeUInt32LE(Math.imul(stamp, 0x9e37_79b1) >>> 0, 4);
	return pattern;
}

export function fillWithStamp(block: Uint8Array, stamp: Stamp): void {
	Buffer.from(block.buffer, block.byteOffset, block.byteLength).fill(patternOf(stamp));
}

/** The stamp that a block holds in all its parts. */
export function stampOf(block: Uint8Array): Stamp {
	const view = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
	const stamp = view.readUInt32LE(0);
	// Equal to itself one pattern further on, and starting with the right pattern: the same pattern all the way.
	return patternOf(stamp).compare(view, 0, patternSize) === 0 &&
		view.compare(view, patternSize, blockSize, 0, blockSize - patternSize) === 0
		? stamp
		: garbageStamp;
}

/** A buffer with one block for each stamp. */
export function dataOf(stamps: readonly Stamp[]): Buffer {
	const data = Buffer.allocUnsafe(stamps.length * blockSize);
	for (const [i, stamp] of stamps.entries()) {
		fillWithStamp(data.subarray(i * blockSize, (i + 1) * blockSize), stamp);
	}

	return data;
}

export function stampsOf(data: Uint8Array): Stamp[] {
	return Array.from({length: data.length / blockSize}, (_, i) =>
		stampOf(data.subarray(i * blockSize, (i + 1) * blockSize)),
	);
}
