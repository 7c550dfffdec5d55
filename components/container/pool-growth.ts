/**
 * Growth of the pool by arithmetic (format section 8). The meta tree has to have a leaf for every inner block of both
 * pool trees; where the next step of the free tree would break that, the meta tree grows first, from the same contingent.
 */
import {innerBlockCount, levelLimit, type Dimensions} from './geometry.js';

/** Leaves of the meta tree per inner block of both pool trees: one in use, one for the next generation … */
const comfortableLeafCount = 2;
/** … and where the meta tree cannot grow any more: what the format asks for. */
const leastLeafCount = 1;

/** True where a tree of the pool has all the leaves that its degree allows. */
export function isPoolTreeFull({degree, leafCount}: Dimensions): boolean {
	return leafCount >= degree ** levelLimit(degree, true);
}

/** A tree after a growth step: its lowest block full, and what that took beyond leaves already there. */
function grownTree({maxLevel, degree, leafCount}: Dimensions, left: number): {tree: Dimensions; usedCount: number} {
	const isFull = leafCount === degree ** maxLevel;
	const grownLevel = isFull ? maxLevel + 1 : maxLevel;
	let blockCount = isFull ? 1 : 0;
	for (let level = 1; level < grownLevel; level++) {
		blockCount += leafCount % (degree ** level) === 0 ? 1 : 0;
	}

	const added = Math.max(0, Math.min(degree - (leafCount % degree), left - blockCount));
	return {tree: {maxLevel: grownLevel, degree, leafCount: leafCount + added}, usedCount: Math.min(left, blockCount + added)};
}

/** Which tree the next growth step extends; undefined where the format's limit is reached. */
export function nextToGrow(free: Dimensions, meta: Dimensions): 'free' | 'meta' | undefined {
	if (isPoolTreeFull(free)) {
		return undefined;
	}

	const {tree} = grownTree(free, Infinity);
	const innerCount = innerBlockCount(tree) + innerBlockCount(meta);
	if (meta.leafCount >= comfortableLeafCount * (innerCount + meta.maxLevel)) {
		return 'free';
	}

	if (!isPoolTreeFull(meta)) {
		return 'meta';
	}

	return meta.leafCount >= leastLeafCount * innerCount ? 'free' : undefined;
}

/** How many of `wanted` blocks the pool can take, those of the meta tree included. */
export function poolRoom(free: Dimensions, meta: Dimensions, wanted: number): number {
	let trees = {free, meta};
	let left = wanted;
	while (left > 0) {
		const which = nextToGrow(trees.free, trees.meta);
		if (which === undefined) {
			break;
		}

		const {tree, usedCount} = grownTree(trees[which], left);
		trees = {...trees, [which]: tree};
		left -= usedCount;
	}

	return wanted - left;
}
