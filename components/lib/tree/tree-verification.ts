/**
 * Compares what lies on the medium with the labels of a tree that is in use, past every memory of its blocks. Changed
 * blocks that are not stored yet are left out: nobody would read what lies at their places. Nothing may be changed
 * meanwhile.
 */
import {isSessionError} from '../../../runtime/sdk/session.js';
import type {Frame, NodeIndex, Vba} from '../../sessions/vocabulary.js';
import {isImplied} from '../format/fresh-layout.js';
import type {HashTree, Path} from './hash-tree.js';
import type {HeldBlocks} from './held-blocks.js';
import type {BlockReference, SeenBlocks} from './seen-blocks.js';

export interface Verified {
	checkedBlockCount: number;
	/** What is wrong, for the log. */
	readonly damages: string[];
}

export interface VerifiedPart {
	readonly tree: HashTree;
	/** What the log calls it. */
	readonly name: string;
	/** The first leaves of the lowest blocks to look at. */
	readonly firstLeaves: readonly Vba[];
	/** Where the leaves are blocks with labels: whether the one at a node has content … */
	readonly isWritten?: (frame: Frame, index: NodeIndex) => boolean;
	/** … and which of them, by index, do not match their labels. */
	readonly verifyData?: (blocks: readonly NamedBlock[]) => Promise<readonly number[]>;
}

export interface NamedBlock extends BlockReference {
	/** The leaf by which it was found. */
	readonly vba: Vba;
}

/**
 * The blocks on the way to `first` for which it is the lowest leaf, and its neighbours' data, but for those seen
 * before.
 */
function blocksOf(
	{tree, isWritten}: VerifiedPart,
	held: HeldBlocks,
	first: Vba,
	seen: SeenBlocks<NamedBlock>,
): NamedBlock[] {
	const {geometry} = tree;
	const blocks: NamedBlock[] = [];
	const path: Path = [];
	tree.walk(first, path);
	const add = (block: Omit<NamedBlock, 'lowestVba'>) => {
		const named = {...block, lowestVba: block.vba};
		if (!seen.find(named)) {
			seen.add(named);
			blocks.push(named);
		}
	};

	for (let level = geometry.maxLevel; level >= 1; level--) {
		if (geometry.lowestVba(first, level) === first && !held.isDirty(path[level])) {
			const label =
				level === geometry.maxLevel
					? tree.root.root.hash
					: held.nodes.hash(path[level + 1], geometry.childIndex(first, level + 1));
			const block = {
				address: tree.addressAt(path, first, level),
				label: Uint8Array.from(label),
				level,
				vba: first,
				generation: tree.generationAt(path, first, level),
			};
			if (isImplied(tree.root.fresh, block.label)) {
				// Neither it nor anything below it lies on the medium.
				return blocks;
			}

			add(block);
		}
	}

	const leafCount = isWritten ? Math.min(geometry.degree, geometry.leafCount - first) : 0;
	for (let index = 0; index < leafCount; index++) {
		const generation = held.nodes.generation(path[1], index);
		if (isWritten?.(path[1], index)) {
			add({
				address: held.nodes.address(path[1], index),
				label: Uint8Array.from(held.nodes.hash(path[1], index)),
				level: 0,
				vba: first + index,
				generation,
			});
		}
	}

	return blocks;
}

/** Checks a part of a tree; blocks in `seen` were checked before, as parts of other trees. */
export async function verifyPart(
	held: HeldBlocks,
	part: VerifiedPart,
	seen: SeenBlocks<NamedBlock>,
): Promise<Verified> {
	const verified: Verified = {checkedBlockCount: 0, damages: []};
	const {tree, name, firstLeaves, verifyData} = part;
	for (const first of firstLeaves) {
		try {
			await tree.load([first]);
		} catch (error) {
			if (!(isSessionError(error) && error.code === 'integrity')) {
				throw error;
			}

			verified.damages.push(`${name}: ${error.message}`);
			continue;
		}

		const blocks = blocksOf(part, held, first, seen);
		verified.checkedBlockCount += blocks.length;
		const inner = blocks.filter(({level}) => level > 0);
		const data = blocks.filter(({level}) => level === 0);
		const bad = (await held.mismatches(inner)).map(index => inner[index]);
		if (verifyData && data.length > 0) {
			bad.push(...(await verifyData(data)).map(index => data[index]));
		}

		for (const {address, level, vba} of bad) {
			verified.damages.push(
				`${name}: the block at PBA ${address} (level ${level}, VBA ${vba}) does not match the hash in its parent`,
			);
		}
	}

	return verified;
}

/**
 * The first leaf from `vba` on, itself the first of a lowest block, below which any of the trees may have something
 * written; past all leaves where there is none.
 */
export async function nextWritten(trees: readonly HashTree[], vba: Vba): Promise<Vba> {
	let next = vba;
	for (;;) {
		let skipped = Infinity;
		for (const tree of trees.filter(({geometry}) => next < geometry.leafCount)) {
			const level = await tree.loadWritten(next, []);
			skipped = Math.min(skipped, level === 0 ? next : tree.endOf(next, level));
		}

		if (skipped === next || skipped === Infinity) {
			return next;
		}

		next = skipped;
	}
}

/** The first leaves of the lowest blocks from `first` on, up to `count` of them. */
export function lowestBlocksFrom({geometry: {degree, leafCount}}: HashTree, first: Vba, count: number): Vba[] {
	const left = Math.ceil((leafCount - first) / degree);
	return Array.from({length: Math.max(0, Math.min(count, left))}, (_, i) => first + i * degree);
}
