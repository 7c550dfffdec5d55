import test from 'ava';
import {layOutPool} from '../../test/support/pool-layout.js';
import type {Snapshot, Superblock} from '../lib/format/superblock.js';
import {
	currentSnapshotOf,
	firstGenerationAfter,
	keptGenerations,
	securedSuperblock,
	withCurrentKept,
	withoutKept,
	type StoredTrees,
} from './transition.js';

async function fresh(): Promise<Superblock> {
	return (await layOutPool({leafCount: 20, maxLevel: 2, degree: 8})).superblock;
}

/** Trees as a store replies with them; the root lies at `address`. */
function stored(superblock: Superblock, address: number): StoredTrees {
	const {root, leafCount, maxLevel} = currentSnapshotOf(superblock);
	const tree = {root: {...root, address}, leafCount, maxLevel, degree: superblock.degree};
	return {tree, freeTree: superblock.freeTree, metaTree: superblock.metaTree, snapshots: []};
}

function validSnapshots({snapshots}: Superblock): Snapshot[] {
	return snapshots.filter(snapshot => snapshot !== undefined);
}

test('the generation after opening is one more than that of the current snapshot', async t => {
	const superblock = await fresh();
	t.is(firstGenerationAfter(superblock), 1);
	t.is(firstGenerationAfter(securedSuperblock(superblock, 6, stored(superblock, 30))), 7);
});

test('a checkpoint moves the current snapshot on and leaves no other', async t => {
	const superblock = await fresh();
	const first = securedSuperblock(superblock, 1, stored(superblock, 30));
	const second = securedSuperblock(first, 2, stored(first, 31));
	t.deepEqual(
		validSnapshots(second).map(({root}) => [root.generation, root.address]),
		[[2, 31]],
	);
	t.is(second.lastSecuredGeneration, 2);
	t.deepEqual(
		validSnapshots(superblock).map(({root}) => root.generation),
		[0],
		'the earlier superblock is not touched',
	);
});

test('a kept snapshot keeps name, root and slot when the next state is secured', async t => {
	const superblock = await fresh();
	const kept = withCurrentKept(securedSuperblock(superblock, 1, stored(superblock, 30)));
	const next = securedSuperblock(kept, 2, stored(kept, 31));
	t.deepEqual(next.snapshots[kept.currentSnapshot], currentSnapshotOf(kept));
	t.not(next.currentSnapshot, kept.currentSnapshot);
	t.is(currentSnapshotOf(next).root.generation, 2);
	t.deepEqual(keptGenerations(next), [1]);
});

test('a kept snapshot without a change since stays the current one under its own name', async t => {
	const superblock = await fresh();
	const kept = withCurrentKept(securedSuperblock(superblock, 1, stored(superblock, 30)));
	const next = securedSuperblock(kept, 2, stored(kept, 30));
	t.is(next.currentSnapshot, kept.currentSnapshot);
	t.is(validSnapshots(next).length, 1);
	t.is(currentSnapshotOf(next).root.generation, 1);
	t.is(next.lastSecuredGeneration, 2);
	t.is(firstGenerationAfter(next), 3);
});

test('a discarded snapshot is gone, unless it is the current content', async t => {
	const superblock = await fresh();
	const kept = withCurrentKept(securedSuperblock(superblock, 1, stored(superblock, 30)));
	const next = securedSuperblock(kept, 2, stored(kept, 31));
	t.deepEqual(
		validSnapshots(withoutKept(next, 1)).map(({root}) => root.generation),
		[2],
	);
	t.is(withoutKept(next, 7), next);
	const unmarked = withoutKept(kept, 1);
	t.deepEqual(currentSnapshotOf(unmarked), {...currentSnapshotOf(kept), keep: false});
});

test('kept snapshots are named oldest first, as many as fit', async t => {
	let superblock = await fresh();
	for (let generation = 1; generation <= 46; generation++) {
		superblock = withCurrentKept(securedSuperblock(superblock, generation, stored(superblock, 30 + generation)));
	}

	const next = securedSuperblock(superblock, 47, stored(superblock, 100));
	t.deepEqual(
		keptGenerations(next),
		Array.from({length: 46}, (_, i) => i + 1),
	);
	t.is(currentSnapshotOf(next).root.generation, 47);
});
