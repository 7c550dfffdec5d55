/** A range of bytes, seen as blocks: whole ones in the middle, and up to two that it covers in part. */
import {blockSize} from '../../sessions/block.js';

/** A block that the range covers in part. */
export interface PartialBlock {
	readonly block: number;
	/** Where the covered part starts inside the block. */
	readonly start: number;
	/** Where it starts inside the range. */
	readonly offset: number;
	readonly length: number;
}

export interface ByteRange {
	readonly partial: readonly PartialBlock[];
	/** The whole blocks; `count` may be 0. */
	readonly whole: {readonly first: number; readonly count: number; readonly offset: number};
}

export function isWholeBlocks(offset: number, length: number): boolean {
	return offset % blockSize === 0 && length % blockSize === 0;
}

/** Divides `length` > 0 bytes at `offset`. */
export function divide(offset: number, length: number): ByteRange {
	const partial: PartialBlock[] = [];
	const end = offset + length;
	const headStart = offset % blockSize;
	const headBlock = Math.floor(offset / blockSize);
	const tailBlock = Math.floor(end / blockSize);
	if (headStart > 0) {
		partial.push({block: headBlock, start: headStart, offset: 0, length: Math.min(length, blockSize - headStart)});
	}

	if (end % blockSize > 0 && (tailBlock > headBlock || headStart === 0)) {
		const start = Math.max(offset, tailBlock * blockSize);
		partial.push({block: tailBlock, start: 0, offset: start - offset, length: end - start});
	}

	const first = headStart > 0 ? headBlock + 1 : headBlock;
	return {partial, whole: {first, count: Math.max(0, tailBlock - first), offset: first * blockSize - offset}};
}
