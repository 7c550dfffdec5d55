/** The shape of a tree (format section 2): which child leads to which leaf, and how many blocks a tree has. */
import {blockSize, type Level, type NodeIndex, type Vba} from '../../sessions/vocabulary.js';

export {blockSize};
export const nodeSize = 64;
export const nodesPerBlock = blockSize / nodeSize;
export const maxLevelLimit = 5;
const degreeLimit = 64;

/** Superblock slots at the beginning of the medium. */
export const superblockSlotCount = 8;

export interface Dimensions {
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
}

/**
 * The highest level that the root of a tree may have. A lowest block of a pool tree supplies new places for a whole
 * way.
 */
export function levelLimit(degree: number, pool: boolean): number {
	return pool ? Math.min(maxLevelLimit, degree - 2) : maxLevelLimit;
}

export interface DimensionsFault {
	/** The dimension that is wrong. */
	readonly dimension: keyof Dimensions;
	readonly text: string;
}

/** What is wrong with the dimensions of a tree, or nothing. `pool`: the tree is a free tree or a meta tree. */
export function dimensionsFault({maxLevel, degree, leafCount}: Dimensions, pool: boolean): DimensionsFault | undefined {
	if (!Number.isInteger(degree) || degree < 2 || degree > degreeLimit || (degree & (degree - 1)) !== 0) {
		return {
			dimension: 'degree',
			text: `the degree is ${degree}, it must be a power of two from 2 to ${degreeLimit}`,
		};
	}

	if (!Number.isInteger(maxLevel) || maxLevel < 1 || maxLevel > maxLevelLimit) {
		return {dimension: 'maxLevel', text: `the max level is ${maxLevel}, it must be from 1 to ${maxLevelLimit}`};
	}

	if (!Number.isInteger(leafCount) || leafCount < 1 || leafCount > degree ** maxLevel) {
		return {
			dimension: 'leafCount',
			text: `there are ${leafCount} leaves, with degree ${degree} and max level ${maxLevel} there must be from 1 to ${degree ** maxLevel}`,
		};
	}

	// A block of the lowest level must be able to supply a new place for every block on the way to the root.
	if (maxLevel > levelLimit(degree, pool)) {
		return {
			dimension: 'degree',
			text: `the degree ${degree} of a pool tree must be greater than its number of levels, ${maxLevel + 1}`,
		};
	}

	return undefined;
}

export class Geometry {
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
	readonly #shift: number;

	constructor({maxLevel, degree, leafCount}: Dimensions) {
		this.maxLevel = maxLevel;
		this.degree = degree;
		this.leafCount = leafCount;
		this.#shift = Math.log2(degree);
	}

	/** Index of the child of a block at `level` on the way to leaf `vba`. */
	childIndex(vba: Vba, level: Level): NodeIndex {
		return (vba >>> (this.#shift * (level - 1))) & (this.degree - 1);
	}

	/** The lowest leaf below the block at `level` on the way to leaf `vba`. */
	lowestVba(vba: Vba, level: Level): Vba {
		const span = this.degree ** level;
		return vba - (vba % span);
	}

	/** Leaves in one block of level 1. */
	get leavesPerLowestBlock(): number {
		return this.degree;
	}

	/** Blocks of level 1 and above. */
	get innerBlockCount(): number {
		return innerBlockCount(this);
	}
}

export function innerBlockCount({maxLevel, degree, leafCount}: Dimensions): number {
	let count = 0;
	for (let level = 1, span = degree; level <= maxLevel; level++, span *= degree) {
		count += Math.ceil(leafCount / span);
	}

	return count;
}

/** Number of PBAs of a fresh container, the superblock slots included. The meta tree has the free tree's dimensions. */
export function freshPbaCount(virtualBlockDevice: Dimensions, freeTree: Dimensions): number {
	return (
		superblockSlotCount +
		virtualBlockDevice.leafCount +
		innerBlockCount(virtualBlockDevice) +
		2 * (freeTree.leafCount + innerBlockCount(freeTree))
	);
}
