/** Counts the leaves of the current tree that were ever written, a bounded part of the tree at a time. */
import type {Generation, Vba} from '../container/addresses.js';
import type {HashTree, Path} from '../container/hash-tree.js';
import type {HeldBlocks} from '../container/held-blocks.js';

/** Ways that one part goes down. */
const wayCountMax = 64;

export interface WrittenCount {
	readonly usedCount: number;
	/** Of these, those that a kept snapshot has as well. */
	readonly sharedCount: number;
	/** Where to go on; null at the end. */
	readonly nextVba: Vba | null;
}

/** The number of leaves from `vba` on up to the end of the largest block without content on the way there; 0 where there is none. */
export function emptyLeafCount(tree: HashTree, path: Path, vba: Vba): number {
	const {maxLevel, degree} = tree.geometry;
	for (let level = maxLevel; level >= 1; level--) {
		if (tree.generationAt(path, vba, level) === 0) {
			const span = degree ** level;
			return span - (vba % span);
		}
	}

	return 0;
}

/** Counts from `firstVba`, the first leaf of a lowest block, on. Requests go on meanwhile. */
export async function countWritten(held: HeldBlocks, currentTree: () => HashTree, {firstVba, newestKeptGeneration}: {firstVba: Vba; newestKeptGeneration: Generation}): Promise<WrittenCount> {
	const {nodes} = held;
	let usedCount = 0;
	let sharedCount = 0;
	let vba = firstVba;
	for (let way = 0; way < wayCountMax && vba < currentTree().geometry.leafCount; way++) {
		const tree = currentTree();
		const path: Path = [];
		await tree.load([vba]);
		tree.walk(vba, path);
		const empty = emptyLeafCount(tree, path, vba);
		if (empty > 0) {
			vba += empty;
			continue;
		}

		const {degree, leafCount} = tree.geometry;
		for (let index = 0; index < Math.min(degree, leafCount - vba); index++) {
			const generation = nodes.generation(path[1], index);
			usedCount += generation > 0 ? 1 : 0;
			sharedCount += generation > 0 && generation <= newestKeptGeneration ? 1 : 0;
		}

		vba += degree;
	}

	return {usedCount, sharedCount, nextVba: vba < currentTree().geometry.leafCount ? vba : null};
}
