/** Which blocks of the pool only one kept snapshot holds: what giving that snapshot up brings. */
import type {Generation, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {NodeBlocks} from '../lib/format/node-blocks.js';
import type {Horizon} from './horizon.js';

export interface SoleHoldings {
	/** Where to go on; null at the end. */
	readonly nextLeaf: Vba | null;
	/** By snapshot, those that hold something alone in the part that was looked at. */
	readonly holdings: ReadonlyArray<{readonly generation: Generation; readonly blockCount: number}>;
}

/** Lowest blocks that are loaded and counted in one step: others get their turn in between. */
const stepBlockCount = 64;

/** Counts a bounded part of the pool, from `firstLeaf` on. */
export async function soleHoldings(
	tree: HashTree,
	nodes: NodeBlocks,
	horizon: Horizon,
	firstLeaf: Vba,
): Promise<SoleHoldings> {
	const {degree, leafCount} = tree.geometry;
	const end = Math.min(leafCount, firstLeaf + stepBlockCount * degree);
	const blocks: Vba[] = [];
	for (let leaf = firstLeaf; leaf < end; leaf += degree) {
		blocks.push(leaf);
	}

	await tree.load(blocks);
	const counts = new Map<Generation, number>();
	for (const block of blocks) {
		const path: Path = [];
		tree.walk(block, path);
		for (let index = 0; index < Math.min(degree, leafCount - block); index++) {
			const holder = horizon.soleHolder(nodes, path[1], index);
			if (holder !== undefined) {
				counts.set(holder, (counts.get(holder) ?? 0) + 1);
			}
		}
	}

	return {
		nextLeaf: end < leafCount ? end : null,
		holdings: [...counts].map(([generation, blockCount]) => ({generation, blockCount})),
	};
}
