/**
 * The blocks in which two states of a tree with the same dimensions differ. A part that both share is skipped whole, so
 * the cost is that of the difference.
 */
import type {Frame, Generation, Level, NodeIndex, Pba, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {HeldBlocks} from '../lib/tree/held-blocks.js';

/** A position in the tree that has another block in either state. */
export interface Difference {
	readonly vba: Vba;
	readonly level: Level;
	readonly before: {readonly address: Pba; readonly generation: Generation};
	readonly after: {readonly address: Pba; readonly generation: Generation};
}

export interface ComparedTrees {
	readonly held: HeldBlocks;
	/** True where the leaf at a node, which was written, has no content. */
	isEmptied(frame: Frame, index: NodeIndex): boolean;
}

/** All differences between `before` and `after`, the root first. */
export async function* differences(
	{held, isEmptied}: ComparedTrees,
	before: HashTree,
	after: HashTree,
): AsyncGenerator<Difference> {
	const {maxLevel} = after.geometry;
	const root = {vba: 0, level: maxLevel, before: before.root.root, after: after.root.root};
	if (root.before.address === root.after.address && Buffer.compare(root.before.hash, root.after.hash) === 0) {
		return;
	}

	const open: Difference[] = [root];
	for (let block = open.pop(); block; block = open.pop()) {
		yield block;
		if (block.level > 0) {
			open.push(...(await childDifferences({held, isEmptied}, before, after, block)));
		}
	}
}

async function childDifferences(
	{held, isEmptied}: ComparedTrees,
	before: HashTree,
	after: HashTree,
	{vba, level}: Difference,
): Promise<Difference[]> {
	const {degree, leafCount} = after.geometry;
	const span = degree ** (level - 1);
	const beforePath: Path = [];
	const afterPath: Path = [];
	while (before.walk(vba, beforePath) || after.walk(vba, afterPath)) {
		await before.load([vba]);
		await after.load([vba]);
	}

	const found: Difference[] = [];
	const {nodes} = held;
	for (let index = 0; index < degree && vba + index * span < leafCount; index++) {
		const was = nodes.address(beforePath[level], index);
		const is = nodes.address(afterPath[level], index);
		const before = {address: was, generation: nodes.generation(beforePath[level], index)};
		const after = {address: is, generation: nodes.generation(afterPath[level], index)};
		// A leaf that was never written in the one state keeps its place when it is first written in the other. Where
		// only the labels differ one of the states has lost its block: that is no block which both have.
		// A leaf that was emptied in one of them is the same block to both.
		const isWritten =
			level > 1 ||
			(after.generation > 0 && !isEmptied(beforePath[level], index) && !isEmptied(afterPath[level], index));
		const hasOtherLabel =
			isWritten &&
			Buffer.compare(nodes.hash(beforePath[level], index), nodes.hash(afterPath[level], index)) !== 0;
		if (was !== is || before.generation !== after.generation || hasOtherLabel) {
			found.push({vba: vba + index * span, level: level - 1, before, after});
		}
	}

	return found;
}

interface UnfinishedBlock {
	readonly level: Level;
	readonly address: Pba;
	readonly generation: Generation;
}

/**
 * Inner blocks on the way to the next leaf that have no leaf below, the uppermost first; an extension may leave them.
 */
function unfinishedBlocks(tree: HashTree, path: Path): UnfinishedBlock[] | undefined {
	const {geometry} = tree;
	const end = geometry.leafCount;
	const lowest = tree.walkExisting(end, path);
	if (typeof lowest !== 'number') {
		return undefined;
	}

	const blocks: UnfinishedBlock[] = [];
	for (let level = geometry.maxLevel - 1; level >= lowest; level--) {
		if (geometry.lowestVba(end, level) === end) {
			blocks.push({
				level,
				address: tree.addressAt(path, end, level),
				generation: tree.generationAt(path, end, level),
			});
		}
	}

	return blocks;
}

/**
 * Differences of two states with the same number of leaves in the branch that an extension has left unfinished;
 * undefined where only `before` has blocks there.
 */
export async function unfinishedDifferences(before: HashTree, after: HashTree): Promise<Difference[] | undefined> {
	const {
		geometry: {degree, maxLevel, leafCount: vba},
	} = before;
	if (vba === degree ** maxLevel) {
		return [];
	}

	for (;;) {
		const was = unfinishedBlocks(before, []);
		const is = unfinishedBlocks(after, []);
		if (was && is) {
			return was.length > is.length
				? undefined
				: was
						.map((block, i) => ({vba, level: block.level, before: block, after: is[i]}))
						.filter(({before, after}) => before.address !== after.address);
		}

		await before.loadExisting(vba);
		await after.loadExisting(vba);
	}
}
