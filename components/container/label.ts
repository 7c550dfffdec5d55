/** The label of a block that is not data: SHA-256 over its 4096 bytes as they lie on the medium (format section 1). */
import {hash} from 'node:crypto';
import {blockSize} from './geometry.js';

export const labelLength = 32;

export function labelOf(block: Uint8Array): Buffer {
	return hash('sha256', block, 'buffer');
}

/** Labels `count` blocks of `memory` given by their frame numbers, 32 bytes each. */
export function labelsOf(memory: Uint8Array, frames: readonly number[]): Uint8Array {
	const labels = new Uint8Array(frames.length * labelLength);
	for (let i = 0; i < frames.length; i++) {
		labels.set(labelOf(memory.subarray(frames[i] * blockSize, (frames[i] + 1) * blockSize)), i * labelLength);
	}

	return labels;
}
