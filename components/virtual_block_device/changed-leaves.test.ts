import test from 'ava';
import {frameCountMin, HeldBlocks} from '../lib/tree/held-blocks.js';
import {HashTree, type Path} from '../lib/tree/hash-tree.js';
import {MemoryCache} from '../../test/support/memory-cache.js';
import {layOutPool} from '../../test/support/pool-layout.js';
import {ChangedLeaves} from './changed-leaves.js';

/** The tree of a fresh container with all of its ways held, and a node changed for each leaf that is named. */
async function treeWith(changed: readonly number[]) {
	const {held, superblock} = await layOutPool({leafCount: 64, maxLevel: 3, degree: 8});
	const {root, leafCount, maxLevel} = superblock.snapshots[0]!;
	const tree = new HashTree(held, {root, leafCount, maxLevel, degree: superblock.degree}, -1);
	const path: Path = [];
	for (const vba of changed) {
		await tree.load([vba]);
		tree.walk(vba, path);
		held.nodes.setPlace(path[1], vba % superblock.degree, 900 + vba, 1);
		held.nodes.setHash(path[1], vba % superblock.degree, new Uint8Array(32).fill(vba + 1), 0);
	}

	return {tree, held};
}

test('a log names each changed leaf once, where it lies and by its label', async t => {
	const on = await treeWith([0, 2]);
	const changes = new ChangedLeaves();
	changes.note(2, 17);
	changes.note(0, -1);
	changes.note(2, -1);
	t.deepEqual(changes.take(10, on), {
		vbas: [2, 0],
		addresses: [902, 900],
		leaves: [17, -1],
		labels: new Uint8Array([...new Uint8Array(32).fill(3), ...new Uint8Array(32).fill(1)]),
	});
	t.deepEqual(changes.take(10, on)?.vbas, []);
});

test('a leaf that takes another place of the pool names the newest', async t => {
	const on = await treeWith([2]);
	const changes = new ChangedLeaves();
	changes.note(2, 17);
	changes.note(2, 30);
	t.deepEqual(changes.take(10, on)?.leaves, [30]);
});

test('a log that has no room changes nothing', async t => {
	const on = await treeWith([0, 1, 2]);
	const changes = new ChangedLeaves();
	for (const vba of [0, 1, 2]) {
		changes.note(vba, vba);
	}

	t.is(changes.take(2, on), undefined);
	t.false(changes.mustMove(0));
	t.deepEqual(changes.take(3, on)?.vbas, [0, 1, 2]);
});

test('what a log names has to move, until the tree is stored or it has moved', async t => {
	const on = await treeWith([0, 1]);
	const changes = new ChangedLeaves();
	changes.note(0, -1);
	changes.note(1, -1);
	t.false(changes.mustMove(0));
	changes.take(10, on);
	t.true(changes.mustMove(0));
	changes.note(0, 5);
	t.false(changes.mustMove(0));
	t.true(changes.mustMove(1));
	changes.reset();
	t.false(changes.mustMove(1));
});

test('where more has changed than a log can say nothing is logged before the tree is stored', async t => {
	const on = await treeWith([0]);
	const changes = new ChangedLeaves();
	changes.note(0, -1);
	changes.noteOther();
	t.is(changes.take(10, on), undefined);
	changes.note(0, -1);
	t.is(changes.take(10, on), undefined);
	changes.reset();
	changes.note(0, -1);
	t.deepEqual(changes.take(10, on)?.vbas, [0]);
});

test('too many leaves are as much as something that a log cannot say', async t => {
	const on = await treeWith([]);
	const changes = new ChangedLeaves();
	for (let vba = 0; vba < 8192; vba++) {
		changes.note(vba, vba);
	}

	t.is(changes.take(8191, on), undefined, 'they are still known');
	changes.note(8192, 1);
	t.is(changes.take(10_000, on), undefined);
	changes.note(0, 1);
	t.is(changes.take(10_000, on), undefined);
});

test('a place that the medium does not write has to be left', t => {
	const changes = new ChangedLeaves();
	changes.noteMisplaced(4);
	t.true(changes.mustMove(4));
	t.false(changes.mustMove(5));
	changes.note(4, -1);
	t.true(changes.mustMove(4), 'written in place once more');
	changes.note(4, 8);
	t.false(changes.mustMove(4));
	changes.noteMisplaced(4);
	changes.reset();
	t.false(changes.mustMove(4));
});

test('where much of the cache is changed the tree is stored', async t => {
	const server = new MemoryCache(frameCountMin);
	const held = await HeldBlocks.attach(server.client);
	const {tree} = await treeWith([]);
	const changes = new ChangedLeaves();
	const pressed = Object.create(held, {dirtyCount: {value: Math.floor((3 / 8) * frameCountMin) + 1}}) as HeldBlocks;
	t.is(changes.take(10, {tree, held: pressed}), undefined);
	const enough = Object.create(held, {dirtyCount: {value: Math.floor((3 / 8) * frameCountMin)}}) as HeldBlocks;
	t.deepEqual(changes.take(10, {tree, held: enough})?.vbas, []);
});
