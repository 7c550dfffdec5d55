/** Blocks and the labels they should have. */
import {blockSize} from '../lib/format/geometry.js';
import {labelLength, labelOf} from '../lib/format/label.js';

export interface LabelTask {
	/** Whole blocks. */
	readonly blocks: Uint8Array;
	/** 32 bytes a block. */
	readonly labels: Uint8Array;
}

/** Indices of the blocks that do not match. */
export function mismatchedBlocks({blocks, labels}: LabelTask): number[] {
	const mismatched: number[] = [];
	const count = blocks.length / blockSize;
	for (let i = 0; i < count; i++) {
		const label = labelOf(blocks.subarray(i * blockSize, (i + 1) * blockSize));
		if (label.compare(labels, i * labelLength, (i + 1) * labelLength) !== 0) {
			mismatched.push(i);
		}
	}

	return mismatched;
}
