/**
 * Where the blocks of a fresh tree lie. With the inner blocks of all trees before all leaves, level by level, each
 * block's place follows from its position in the tree. So an inner block below which nothing was ever changed need not
 * lie on the medium: its parent's node has a label of zeroes, and stands for the block that this layout implies.
 * Whoever needs such a block makes it.
 */
import type {FreshTree} from '../../sessions/tree-root.js';
import type {Frame, Level, Pba} from '../../sessions/vocabulary.js';
import {innerBlockCount, superblockSlotCount, type Dimensions} from './geometry.js';
import type {NodeBlocks} from './node-blocks.js';

/** The three trees of a fresh container. */
export interface FreshTrees {
	readonly virtualBlockDevice: FreshTree;
	readonly freeTree: FreshTree;
	readonly metaTree: FreshTree;
}

/** An inner block that does not lie on the medium. */
export interface ImpliedBlock {
	readonly tree: FreshTree;
	readonly degree: number;
	readonly level: Level;
	/** Number of the block among those of its level. */
	readonly position: number;
}

/** Where the trees of a container with these dimensions lie when it is created. The meta tree has the free tree's. */
export function freshTrees(virtualBlockDevice: Dimensions, freeTree: Dimensions): FreshTrees {
	const innerCounts = [virtualBlockDevice, freeTree, freeTree].map(tree => innerBlockCount(tree));
	const firstInner = [0, innerCounts[0], innerCounts[0] + innerCounts[1]].map(before => superblockSlotCount + before);
	const firstLeaf = superblockSlotCount + innerCounts[0] + innerCounts[1] + innerCounts[2];
	const {leafCount} = virtualBlockDevice;
	return {
		virtualBlockDevice: {leafCount, firstInner: firstInner[0], firstLeaf},
		freeTree: {leafCount: freeTree.leafCount, firstInner: firstInner[1], firstLeaf: firstLeaf + leafCount},
		metaTree: {
			leafCount: freeTree.leafCount,
			firstInner: firstInner[2],
			firstLeaf: firstLeaf + leafCount + freeTree.leafCount,
		},
	};
}

/** Place of the first block of a level; level 0 are the leaves. */
export function firstPlace({leafCount, firstInner, firstLeaf}: FreshTree, degree: number, level: Level): Pba {
	let place = level === 0 ? firstLeaf : firstInner;
	for (let below = 1, span = degree; below < level; below++, span *= degree) {
		place += Math.ceil(leafCount / span);
	}

	return place;
}

/**
 * Makes an implied block. Nodes of inner blocks, of leaves never written and of free pool entries have their PBA alone.
 */
export function fillImplied(nodes: NodeBlocks, frame: Frame, {tree, degree, level, position}: ImpliedBlock): void {
	const first = position * degree;
	const place = firstPlace(tree, degree, level - 1) + first;
	const count = Math.min(degree, Math.ceil(tree.leafCount / degree ** (level - 1)) - first);
	nodes.clear(frame);
	for (let index = 0; index < count; index++) {
		nodes.setPlace(frame, index, place + index, 0);
	}
}

/** True where a node with this label stands for an inner block that is not on the medium. */
export function isImplied(tree: FreshTree | undefined, label: Uint8Array): boolean {
	return tree !== undefined && label.every(byte => byte === 0);
}
