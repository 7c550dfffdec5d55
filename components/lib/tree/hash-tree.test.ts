import test from 'ava';
import {SessionError} from '../../../runtime/sdk/session.js';
import {MemoryCache} from '../../../test/support/memory-cache.js';
import type {TreeRoot} from '../../sessions/tree-root.js';
import {blockSize} from '../format/geometry.js';
import {HashTree, type Path} from './hash-tree.js';
import {HeldBlocks, frameCountMin} from './held-blocks.js';
import {layOut} from '../format/initialize.js';

const dimensions = {leafCount: 50, maxLevel: 4, degree: 4};

/** A fresh tree on a medium in memory. */
async function freshTree(): Promise<{server: MemoryCache; root: TreeRoot}> {
	const server = new MemoryCache(frameCountMin);
	const superblock = await layOut(
		{
			virtualBlockDevice: dimensions,
			freeTree: {leafCount: 20, maxLevel: 2, degree: 8},
			cipher: 'aes-256-cbc-essiv',
			containerId: undefined,
			key: {wrapped: new Uint8Array(32), id: 1},
		},
		{
			async write(extents, data) {
				let offset = 0;
				for (let i = 0; i < extents.length; i += 2) {
					for (
						let address = extents[i];
						address < extents[i] + extents[i + 1];
						address++, offset += blockSize
					) {
						server.put(address, data.subarray(offset, offset + blockSize));
					}
				}
			},
		},
	);
	return {server, root: {root: superblock.snapshots[0]!.root, ...dimensions}};
}

async function openTree(server: MemoryCache, root: TreeRoot): Promise<{held: HeldBlocks; tree: HashTree}> {
	const held = await HeldBlocks.attach(server.client);
	return {held, tree: new HashTree(held, root, -1)};
}

/** The address in the node of each leaf. */
async function leafAddresses(held: HeldBlocks, tree: HashTree): Promise<number[]> {
	const addresses: number[] = [];
	for (let vba = 0; vba < tree.geometry.leafCount; vba++) {
		const path: Path = [];
		await tree.load([vba]);
		requireHeld(tree.walk(vba, path));
		addresses.push(held.nodes.address(path[1], tree.geometry.childIndex(vba, 1)));
	}

	return addresses;
}

function requireHeld(wanted: unknown): void {
	if (wanted !== undefined) {
		throw new Error('a way that was just loaded is not held');
	}
}

test('a walk names the first block on the way that is not held, from the root down', async t => {
	const {server, root} = await freshTree();
	const {held, tree} = await openTree(server, root);
	const levels: number[] = [];
	for (let wanted = tree.walk(37, []); wanted; wanted = tree.walk(37, [])) {
		levels.push(wanted.level);
		await held.load([wanted]);
	}

	t.deepEqual(levels, [4, 3, 2, 1]);
});

test('the ways lead to the leaves in the order of the layout', async t => {
	const {server, root} = await freshTree();
	const {held, tree} = await openTree(server, root);
	const addresses = await leafAddresses(held, tree);
	t.is(addresses[0], 8);
	t.is(new Set(addresses).size, dimensions.leafCount);
	t.deepEqual(
		addresses,
		[...addresses].sort((a, b) => a - b),
	);
});

test('many ways are loaded together, level by level, each block once', async t => {
	const {server, root} = await freshTree();
	const {tree} = await openTree(server, root);
	await tree.load(Array.from({length: 50}, (_, vba) => vba));
	t.is(server.loads.length, 4);
	const loaded = server.loads.flat();
	t.is(new Set(loaded).size, loaded.length);
});

test('a damaged block on the way is an integrity error with its level', async t => {
	const {server, root} = await freshTree();
	const {held, tree} = await openTree(server, root);
	await held.load([tree.walk(0, [])!]);
	const {address} = tree.walk(0, [])!;
	server.blocks.get(address)![100] ^= 4;
	const error = await t.throwsAsync(tree.load([0]), {instanceOf: SessionError});
	t.is(error.code, 'integrity');
	t.deepEqual(error.detail, {address, level: 3});
});

/** Copy-on-write of the way to `vba` to addresses from `first` on, and a new place for the leaf. */
async function rewrite(
	held: HeldBlocks,
	tree: HashTree,
	{vba, first, generation}: {vba: number; first: number; generation: number},
): Promise<void> {
	const path: Path = [];
	await tree.load([vba]);
	requireHeld(tree.walk(vba, path));
	for (let level = 1; level <= tree.geometry.maxLevel; level++) {
		tree.moveBlock(path, vba, level, {address: first + level, generation});
	}

	held.nodes.setPlace(path[1], tree.geometry.childIndex(vba, 1), first, generation);
	tree.markDirty(path, vba);
}

test('what was changed along a way is there when the stored tree is opened again', async t => {
	const {server, root} = await freshTree();
	const {held, tree} = await openTree(server, root);
	const before = await leafAddresses(held, tree);
	await rewrite(held, tree, {vba: 21, first: 5000, generation: 3});
	await held.store((_mark, hash) => {
		tree.setRootHash(hash);
	});
	t.deepEqual({...tree.root.root, hash: undefined}, {address: 5004, generation: 3, hash: undefined});

	const again = await openTree(server, tree.root);
	before[21] = 5000;
	t.deepEqual(await leafAddresses(again.held, again.tree), before);
});

test('the old tree is untouched by a change of the new one', async t => {
	const {server, root} = await freshTree();
	const {held, tree} = await openTree(server, root);
	const before = await leafAddresses(held, tree);
	await rewrite(held, tree, {vba: 21, first: 5000, generation: 3});
	await held.store(() => undefined);
	const old = await openTree(server, root);
	t.deepEqual(await leafAddresses(old.held, old.tree), before);
});

test('a block knows its place and generation from its parent', async t => {
	const {server, root} = await freshTree();
	const {held, tree} = await openTree(server, root);
	await rewrite(held, tree, {vba: 21, first: 5000, generation: 3});
	const path: Path = [];
	t.is(tree.walk(21, path), undefined);
	t.deepEqual(
		[1, 2, 3, 4].map(level => [tree.addressAt(path, 21, level), tree.generationAt(path, 21, level)]),
		[
			[5001, 3],
			[5002, 3],
			[5003, 3],
			[5004, 3],
		],
	);
	const sibling: Path = [];
	await tree.load([25]);
	t.is(tree.walk(25, sibling), undefined);
	t.is(tree.generationAt(sibling, 25, 1), 0);
	t.is(tree.addressAt(sibling, 25, 2), 5002);
});
