/** What a node must look like where it stands (format section 2), before anything that it refers to is read. */
import type {Generation, NodeIndex} from '../sessions/vocabulary.js';
import {blockSize, nodeSize} from '../lib/format/geometry.js';
import type {NodeBlocks} from '../lib/format/node-blocks.js';
import type {Reference} from './reference.js';

const type1End = 48;
const reservedOffset = 36;

/** Whether a place in a tree has to refer to a block. */
export type Presence =
	/** There are leaves at or below it. */
	| 'required'
	/** The branch right behind the last leaf, which an extension may have left unfinished. */
	| 'allowed'
	| 'forbidden';

/** The presence of child `index` of the block at `parent`. */
export function childPresence({level, position, tree}: Reference, index: NodeIndex): Presence {
	const childLevel = level - 1;
	const lowestLeaf = (position * tree.degree + index) * tree.degree ** childLevel;
	if (lowestLeaf < tree.leafCount) {
		return 'required';
	}

	return lowestLeaf === tree.leafCount && childLevel > 0 ? 'allowed' : 'forbidden';
}

function bytesAreZero(nodes: NodeBlocks, frame: number, index: NodeIndex, from: number): boolean {
	const offset = frame * blockSize + index * nodeSize;
	for (let i = offset + from; i < offset + nodeSize; i++) {
		if (nodes.memory[i] !== 0) {
			return false;
		}
	}

	return true;
}

/**
 * What is wrong with a type 1 node. (A leaf that was never written may have a hash: the original's rekeying gives it
 * one.)
 */
export function type1Fault(
	nodes: NodeBlocks,
	frame: number,
	index: NodeIndex,
	lastGeneration: Generation,
): string | undefined {
	const generation = nodes.generation(frame, index);
	if (generation > lastGeneration) {
		return `its generation ${generation} lies beyond the last secured one, ${lastGeneration}`;
	}

	if (!bytesAreZero(nodes, frame, index, type1End)) {
		return 'the unused bytes of its node are not zero';
	}

	return undefined;
}

/** What is wrong with a type 2 node. */
export function type2Fault(nodes: NodeBlocks, frame: number, index: NodeIndex): string | undefined {
	const reserved = nodes.memory[frame * blockSize + index * nodeSize + reservedOffset];
	if (reserved > 1) {
		return `its reserved flag is ${reserved}, it must be 0 or 1`;
	}

	return bytesAreZero(nodes, frame, index, reservedOffset + 1)
		? undefined
		: 'the unused bytes of its entry are not zero';
}
