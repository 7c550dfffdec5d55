/** A tree as records, read block by block; each block says whether it is what its parent expects. */
import type {Client} from '../../runtime/sdk/session.js';
import type {Level, NodeIndex, Pba} from '../sessions/vocabulary.js';
import {isImplied} from '../lib/format/fresh-layout.js';
import {blockSize, type Dimensions} from '../lib/format/geometry.js';
import {openInner} from '../lib/container/inner-blocks.js';
import {labelOf} from '../lib/format/label.js';
import {NodeBlocks} from '../lib/format/node-blocks.js';
import type {block} from '../sessions/block.js';
import type {crypto} from '../sessions/crypto.js';
import type {FreshTree, RootNode} from '../sessions/tree-root.js';
import {hex, type DumpRecord} from './dump-record.js';

export interface DumpedTree extends Dimensions {
	readonly root: RootNode;
	readonly pool: boolean;
	/** Where some of its inner blocks may not lie on the medium. */
	readonly fresh?: FreshTree | undefined;
	/** True where leaves that were written may have no content. */
	readonly emptiesLeaves?: boolean;
}

export interface TreeDumpOptions {
	readonly medium: Client<typeof block>;
	readonly tree: DumpedTree;
	/** Where inner blocks are encrypted: a server that has their key. */
	readonly innerServer: Client<typeof crypto> | undefined;
	/** Leaves that are listed, with the branches that lead to them; without it all inner blocks are, and no leaves. */
	readonly leaves: LeafRange | undefined;
}

/** Leaves from `first` up to `end`. */
export interface LeafRange {
	readonly first: number;
	readonly end: number;
}

/** True where some leaf that is wanted lies below the block or leaf at `position` of `level`. */
function isWanted({leaves, tree}: TreeDumpOptions, level: Level, position: number): boolean {
	const span = tree.degree ** level;
	return !leaves || (position * span < leaves.end && (position + 1) * span > leaves.first);
}

interface Place {
	readonly address: Pba;
	readonly hash: Uint8Array;
	readonly generation: number;
	readonly level: Level;
	readonly position: number;
}

export async function* treeRecords(options: TreeDumpOptions): AsyncGenerator<DumpRecord> {
	const {root, maxLevel} = options.tree;
	yield* branchRecords(options, {...root, level: maxLevel, position: 0});
}

async function readBlock(
	{medium, innerServer}: TreeDumpOptions,
	{address, hash}: Place,
): Promise<{nodes: NodeBlocks; matches: boolean}> {
	const nodes = new NodeBlocks(new Uint8Array(blockSize));
	await medium.read({extents: [address, 1], data: nodes.memory});
	const matches = innerServer
		? (await openInner(innerServer, [address], {labels: hash, blocks: nodes.memory})).length === 0
		: labelOf(nodes.memory).equals(hash);
	return {nodes, matches};
}

async function* branchRecords(options: TreeDumpOptions, place: Place): AsyncGenerator<DumpRecord> {
	const {tree} = options;
	const {address, hash, generation, level, position} = place;
	const depth = 1 + tree.maxLevel - level;
	const fields = {level, pba: address, generation, first_vba: position * tree.degree ** level};
	if (isImplied(tree.fresh, hash)) {
		// It does not lie on the medium, nor does anything below it.
		yield {kind: 'block', depth, fields: {...fields, hash: null, unwritten: true}};
		return;
	}

	const {nodes, matches} = await readBlock(options, place);
	yield {kind: 'block', depth, fields: {...fields, hash: hex(hash), damaged: !matches}};
	if (!matches) {
		// Its nodes are not to be believed.
		return;
	}

	for (let index = 0; index < tree.degree; index++) {
		const position = place.position * tree.degree + index;
		if (!nodes.isUnset(0, index) && isWanted(options, level - 1, position)) {
			yield* nodeRecords(options, {nodes, index, parent: place});
		}
	}
}

async function* nodeRecords(
	options: TreeDumpOptions,
	{nodes, index, parent}: {nodes: NodeBlocks; index: NodeIndex; parent: Place},
): AsyncGenerator<DumpRecord> {
	const {tree, leaves} = options;
	const position = parent.position * tree.degree + index;
	if (parent.level > 1) {
		const child = {
			address: nodes.address(0, index),
			generation: nodes.generation(0, index),
			hash: nodes.hash(0, index),
		};
		yield* branchRecords(options, {...child, level: parent.level - 1, position});
	} else if (leaves) {
		yield tree.pool ? entryRecord(nodes, index, position, tree) : leafRecord(nodes, index, position, tree);
	}
}

function leafRecord(
	nodes: NodeBlocks,
	index: NodeIndex,
	vba: number,
	{maxLevel, emptiesLeaves}: DumpedTree,
): DumpRecord {
	const generation = nodes.generation(0, index);
	const isEmptied = generation > 0 && emptiesLeaves === true && nodes.isEmptied(0, index);
	return {
		kind: 'leaf',
		depth: 1 + maxLevel,
		fields: {
			vba,
			pba: nodes.address(0, index),
			generation,
			hash: generation === 0 || isEmptied ? null : hex(nodes.hash(0, index)),
			unwritten: generation === 0,
			...(isEmptied && {emptied: true}),
		},
	};
}

function entryRecord(nodes: NodeBlocks, index: NodeIndex, leaf: number, {maxLevel}: Dimensions): DumpRecord {
	const {address, lastVba, allocGeneration, freeGeneration, lastKeyId, reserved} = nodes.poolEntry(0, index);
	return {
		kind: 'entry',
		depth: 1 + maxLevel,
		fields: {
			leaf,
			pba: address,
			alloc_generation: allocGeneration,
			free_generation: freeGeneration,
			last_vba: lastVba,
			last_key_id: lastKeyId,
			reserved,
		},
	};
}
