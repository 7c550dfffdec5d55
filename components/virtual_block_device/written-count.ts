/** Counts the leaves of the current tree that were ever written, a bounded part of the tree at a time. */
import type {Generation, Level, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {Device} from './device.js';

/** Ways that one part goes down. */
const wayCountMax = 64;

export interface WrittenCount {
	readonly usedCount: number;
	/** Of these, those that a kept snapshot has as well. */
	readonly sharedCount: number;
	/** Where to go on; null at the end. */
	readonly nextVba: Vba | null;
}

/** The level of the largest block without content on the way to `vba`; 0 where there is none. */
function unwrittenLevel(tree: HashTree, path: Path, vba: Vba): Level {
	for (let level = tree.geometry.maxLevel; level >= 1; level--) {
		if (tree.generationAt(path, vba, level) === 0) {
			return level;
		}
	}

	return 0;
}

/**
 * Fills `path` down to the leaf's node and replies 0, or the level of a block on the way below which nothing has
 * content.
 */
export async function loadToContent(tree: HashTree, vba: Vba, path: Path): Promise<Level> {
	return (await tree.loadWritten(vba, path)) || unwrittenLevel(tree, path, vba);
}

/** Counts from `firstVba`, the first leaf of a lowest block, on. Requests go on meanwhile. */
export async function countWritten(
	device: Device,
	{firstVba, newestKeptGeneration}: {firstVba: Vba; newestKeptGeneration: Generation},
): Promise<WrittenCount> {
	const {
		held: {nodes},
	} = device;
	let usedCount = 0;
	let sharedCount = 0;
	let vba = firstVba;
	for (let way = 0; way < wayCountMax && vba < device.tree.geometry.leafCount; way++) {
		const path: Path = [];
		const {tree} = device;
		const level = await loadToContent(tree, vba, path);
		if (level > 0) {
			vba = tree.endOf(vba, level);
			continue;
		}

		const {degree, leafCount} = tree.geometry;
		for (let index = 0; index < Math.min(degree, leafCount - vba); index++) {
			const generation = nodes.generation(path[1], index);
			const isWritten = device.isWritten(path[1], index);
			usedCount += isWritten ? 1 : 0;
			sharedCount += isWritten && generation <= newestKeptGeneration ? 1 : 0;
		}

		vba += degree;
	}

	return {usedCount, sharedCount, nextVba: vba < device.tree.geometry.leafCount ? vba : null};
}
