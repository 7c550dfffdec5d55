/**
 * Growth of the pool by arithmetic (format section 8). The meta tree has to have a leaf for every inner block of both
 * pool trees; where the next step of the free tree would break that, the meta tree grows first, from the same
 * allocator.
 */
import {innerBlockCount, levelLimit, type Dimensions} from './geometry.js';

/** Leaves of the meta tree per inner block of both pool trees: one in use, one for the next generation … */
const comfortableLeafCount = 2;
/** … and where the meta tree cannot grow any more: what the format asks for. */
const leastLeafCount = 1;

/** True where a tree of the pool has all the leaves that its degree allows. */
function isPoolTreeFull({degree, leafCount}: Dimensions): boolean {
	return leafCount >= degree ** levelLimit(degree, true);
}

/** A tree after a growth step: its lowest block full, and what that took beyond leaves already there. */
export function growPoolOnce(
	{maxLevel, degree, leafCount}: Dimensions,
	left: number,
): {tree: Dimensions; usedCount: number} {
	const isFull = leafCount === degree ** maxLevel;
	const grownLevel = isFull ? maxLevel + 1 : maxLevel;
	let blockCount = isFull ? 1 : 0;
	for (let level = 1; level < grownLevel; level++) {
		blockCount += leafCount % degree ** level === 0 ? 1 : 0;
	}

	const added = Math.max(0, Math.min(degree - (leafCount % degree), left - blockCount));
	return {
		tree: {maxLevel: grownLevel, degree, leafCount: leafCount + added},
		usedCount: Math.min(left, blockCount + added),
	};
}

/** Which tree the next growth step extends; undefined where the format's limit is reached. */
export function nextToGrow(free: Dimensions, meta: Dimensions): 'free' | 'meta' | undefined {
	if (isPoolTreeFull(free)) {
		return undefined;
	}

	const {tree} = growPoolOnce(free, Infinity);
	const innerCount = innerBlockCount(tree) + innerBlockCount(meta);
	if (meta.leafCount >= comfortableLeafCount * (innerCount + meta.maxLevel)) {
		return 'free';
	}

	if (!isPoolTreeFull(meta)) {
		return 'meta';
	}

	return meta.leafCount >= leastLeafCount * innerCount ? 'free' : undefined;
}

/** Leaves of a meta tree, itself grown from `meta`, that is large enough for a free tree with so many inner blocks. */
function metaLeafCountFor(freeInnerCount: number, meta: Dimensions): number {
	const {degree} = meta;
	const isEnough = (leafCount: number) => {
		let maxLevel = meta.maxLevel;
		while (leafCount > degree ** maxLevel) {
			maxLevel++;
		}

		return (
			leafCount >=
			comfortableLeafCount * (freeInnerCount + innerBlockCount({degree, maxLevel, leafCount}) + maxLevel)
		);
	};

	if (isEnough(meta.leafCount)) {
		return meta.leafCount;
	}

	// A meta tree grows by whole lowest blocks.
	let tooFew = Math.floor(meta.leafCount / degree);
	let enough = degree ** (levelLimit(degree, true) - 1);
	while (enough - tooFew > 1) {
		const middle = Math.floor((tooFew + enough) / 2);
		if (isEnough(middle * degree)) {
			enough = middle;
		} else {
			tooFew = middle;
		}
	}

	return enough * degree;
}

/** Blocks that a tree needs to have so many leaves, those that it has already not counted. */
function blocksToGrow({degree, maxLevel, leafCount}: Dimensions, newLeafCount: number): number {
	let newLevel = maxLevel;
	while (newLeafCount > degree ** newLevel) {
		newLevel++;
	}

	return (
		newLeafCount +
		innerBlockCount({degree, maxLevel: newLevel, leafCount: newLeafCount}) -
		leafCount -
		innerBlockCount({degree, maxLevel, leafCount})
	);
}

/**
 * How many of `wanted` blocks the pool can take, those of the meta tree included. Its cost does not grow with their
 * number.
 */
export function poolRoom(free: Dimensions, meta: Dimensions, wanted: number): number {
	const {degree} = free;
	const maxLevel = levelLimit(degree, true);
	const full = {degree, maxLevel, leafCount: degree ** maxLevel};
	const room = blocksToGrow(free, full.leafCount) + blocksToGrow(meta, metaLeafCountFor(innerBlockCount(full), meta));
	return Math.min(wanted, room);
}
