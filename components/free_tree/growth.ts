/**
 * Growth of the pool (format section 8). The meta tree has to have a leaf for every inner block of both pool trees; where
 * the next step of the free tree would break that, the meta tree grows first, from the same contingent.
 */
import type {Frame, NodeIndex, Pba} from '../container/addresses.js';
import {innerBlockCount} from '../container/geometry.js';
import type {HashTree} from '../container/hash-tree.js';
import type {NodeBlocks} from '../container/node-blocks.js';
import {isAtLimit, type Contingent} from '../container/tree-growth.js';

/** Leaves of the meta tree per inner block of both pool trees: one in use, one for the next generation. */
const metaLeavesPerInnerBlock = 2;

/** A free pool entry has only its PBA set. */
export function setFreeEntry(nodes: NodeBlocks, frame: Frame, index: NodeIndex, address: Pba): void {
	nodes.setPoolEntry(frame, index, {address, lastVba: 0, allocGeneration: 0, freeGeneration: 0, lastKeyId: 0, reserved: false});
}

/** Which tree the next step extends; undefined where the format's limit or the contingent's end is reached. */
export function nextToGrow(free: HashTree, meta: HashTree, contingent: Contingent): 'free' | 'meta' | undefined {
	if (contingent.left === 0 || isAtLimit(free)) {
		return undefined;
	}

	const {maxLevel, degree, leafCount} = free.geometry;
	const grown = {degree, leafCount: leafCount + degree, maxLevel: leafCount === degree ** maxLevel ? maxLevel + 1 : maxLevel};
	const needed = metaLeavesPerInnerBlock * (innerBlockCount(grown) + meta.geometry.innerBlockCount + meta.geometry.maxLevel);
	if (meta.geometry.leafCount >= needed) {
		return 'free';
	}

	return isAtLimit(meta) ? undefined : 'meta';
}
