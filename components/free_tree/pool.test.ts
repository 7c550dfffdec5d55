import test, {type ExecutionContext} from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {SeededRandom} from '../../test/support/seeded-random.js';
import {layOutPool, type PoolLayout} from '../../test/support/pool-layout.js';
import {Horizon} from './horizon.js';
import {Pool} from './pool.js';
import type {Usage} from './usage-count.js';

const large = {leafCount: 64, maxLevel: 3, degree: 8};

interface Stand extends PoolLayout {
	readonly pool: Pool;
	generation: number;
}

async function openPool(dimensions = large, snapshotGenerations: readonly number[] = []): Promise<Stand> {
	const layout = await layOutPool(dimensions);
	const horizon = new Horizon({
		currentGeneration: 1,
		lastSecuredGeneration: 0,
		snapshotGenerations,
		rekeying: null,
		setAsideCount: 0,
	});
	const {freeTree, metaTree} = layout.superblock;
	return {...layout, pool: new Pool(layout.held, {freeTree, metaTree, horizon}), generation: 1};
}

/** Replaced blocks, as a writer names them: PBAs that no pool has. */
function replaced(
	count: number,
	{generation = 0, first = 10_000}: {generation?: number; first?: number} = {},
): number[] {
	return Array.from({length: count}, (_, i) => [first + i, generation, i]).flat();
}

const sealed = {keyId: 1, reserved: true};

/** Stores and secures the current generation. */
async function secure(stand: Stand, snapshotGenerations: readonly number[] = []): Promise<void> {
	await stand.pool.store();
	stand.pool.horizon.currentGeneration = stand.generation + 1;
	stand.pool.horizon.advance({
		lastSecuredGeneration: stand.generation,
		snapshotGenerations,
		rekeying: null,
		setAsideCount: 0,
	});
	stand.generation++;
}

async function usageOf(pool: Pool): Promise<Usage> {
	for (;;) {
		const usage = await pool.usage();
		if (usage) {
			return usage;
		}
	}
}

async function requireNoSpace(t: ExecutionContext, exchange: Promise<unknown>): Promise<void> {
	const error = await t.throwsAsync(exchange, {instanceOf: SessionError});
	t.is(error.code, 'no_space');
}

test('each exchange hands out other blocks of the pool', async t => {
	const {pool} = await openPool();
	const {addresses: first, leaves} = await pool.exchange(replaced(10), sealed);
	const {addresses: second} = await pool.exchange(replaced(30, {first: 20_000}), sealed);
	t.is(new Set([...first, ...second]).size, 40);
	t.is(new Set(leaves).size, 10);
	t.true([...first, ...second].every(address => address < 10_000));
});

test('what was given in this generation is not handed out again before it is secured', async t => {
	const stand = await openPool();
	await stand.pool.exchange(replaced(large.leafCount), sealed);
	await requireNoSpace(t, stand.pool.exchange(replaced(1), sealed));
	await secure(stand);
	const {addresses} = await stand.pool.exchange(replaced(large.leafCount, {generation: 1, first: 20_000}), sealed);
	t.deepEqual(
		addresses.sort((a, b) => a - b),
		Array.from({length: large.leafCount}, (_, i) => 10_000 + i),
	);
});

test('blocks that one exchange exhausts are found again after each checkpoint', async t => {
	const stand = await openPool();
	for (let round = 0; round < 20; round++) {
		await stand.pool.exchange(replaced(50, {generation: round, first: 10_000 * (round + 1)}), sealed);
		await secure(stand);
	}

	t.is((await usageOf(stand.pool)).allocatableCount, large.leafCount);
});

test('an exchange that asks for too much changes nothing', async t => {
	const {pool, held} = await openPool();
	await requireNoSpace(t, pool.exchange(replaced(large.leafCount + 1), sealed));
	t.is(held.dirtyCount, 0);
	const {addresses} = await pool.exchange(replaced(large.leafCount), sealed);
	t.is(addresses.length, large.leafCount);
});

test('an exchange that fails on the medium leaves its finds for the next one', async t => {
	const {pool, server} = await openPool();
	const metaLoads = new Set<number>();
	server.before = (_operation, addresses) => {
		// The first lowest block of the free tree can be read, what comes after it cannot.
		if (server.loads.length > large.maxLevel) {
			metaLoads.add(addresses[0]);
			throw new SessionError('device_failed', 'the medium failed');
		}
	};
	const error = await t.throwsAsync(pool.exchange(replaced(20), sealed), {instanceOf: SessionError});
	t.is(error.code, 'device_failed');
	t.true(metaLoads.size > 0);
	server.before = () => undefined;
	const {addresses} = await pool.exchange(replaced(large.leafCount), sealed);
	t.is(addresses.length, large.leafCount);
});

test('restored blocks can be handed out again at once', async t => {
	const {pool} = await openPool();
	const {addresses, leaves} = await pool.exchange(replaced(large.leafCount), sealed);
	await pool.restore(leaves.slice(0, 3), addresses.slice(0, 3));
	t.is((await usageOf(pool)).allocatableCount, 3);
	const again = await pool.exchange(replaced(3, {first: 20_000}), sealed);
	t.deepEqual(
		again.addresses.sort((a, b) => a - b),
		addresses.slice(0, 3).sort((a, b) => a - b),
	);
});

async function soleHoldingsOf(pool: Pool): Promise<Array<[number, number]>> {
	const counts = new Map<number, number>();
	for (let firstLeaf: number | null = 0; firstLeaf !== null;) {
		const {nextLeaf, holdings} = await pool.soleHoldings(firstLeaf);
		for (const {generation, blockCount} of holdings) {
			counts.set(generation, (counts.get(generation) ?? 0) + blockCount);
		}

		firstLeaf = nextLeaf;
	}

	return [...counts].sort(([a], [b]) => a - b);
}

test('what a snapshot holds alone is what giving it up brings; what two hold counts for neither', async t => {
	const stand = await openPool();
	await secure(stand, [1]);
	await secure(stand, [1, 2]);
	// Generation 3 now. What was allocated in 1 is in both snapshots, what was allocated in 2 is in the second one
	// alone.
	await stand.pool.exchange(replaced(7, {generation: 1}), sealed);
	await stand.pool.exchange(replaced(5, {first: 30_000, generation: 2}), sealed);
	await secure(stand, [1, 2]);
	t.deepEqual(await soleHoldingsOf(stand.pool), [[2, 5]]);
	const before = await usageOf(stand.pool);
	t.is(before.heldCount, 12);
	await secure(stand, [1]);
	t.is((await usageOf(stand.pool)).heldCount, 7);
	t.deepEqual(await soleHoldingsOf(stand.pool), [[1, 7]]);
	await secure(stand, []);
	t.deepEqual(await soleHoldingsOf(stand.pool), []);
});

test('blocks that a kept snapshot needs stay until it is discarded', async t => {
	const stand = await openPool();
	await secure(stand);
	await secure(stand, [1]);
	// Generation 3 now; what was allocated before the snapshot and is freed after it belongs to it.
	await stand.pool.exchange(replaced(large.leafCount, {generation: 1}), sealed);
	await secure(stand, [1]);
	t.deepEqual(await usageOf(stand.pool), {
		leafCount: large.leafCount,
		allocatableCount: 0,
		heldCount: large.leafCount,
	});
	await requireNoSpace(t, stand.pool.exchange(replaced(1), sealed));
	await secure(stand, []);
	t.is((await usageOf(stand.pool)).allocatableCount, large.leafCount);
	t.is((await stand.pool.exchange(replaced(5, {first: 20_000}), sealed)).addresses.length, 5);
});

test('what is counted step by step is what a count of everything finds', async t => {
	const random = new SeededRandom(7);
	const stand = await openPool({leafCount: 400, maxLevel: 3, degree: 8});
	let snapshots: number[] = [];
	for (let round = 0; round < 60; round++) {
		const count = random.below(60);
		const exchanged = await stand.pool
			.exchange(replaced(count, {generation: random.below(stand.generation), first: 10_000 * (round + 1)}), {
				keyId: 1,
				reserved: random.below(2) === 0,
			})
			.catch(() => undefined);
		if (exchanged && random.below(3) === 0) {
			await stand.pool.restore(exchanged.leaves.slice(0, 2), exchanged.addresses.slice(0, 2));
		}

		if (random.below(4) === 0) {
			snapshots = snapshots.length > 2 ? snapshots.slice(1) : [...snapshots, stand.generation];
		}

		await secure(stand, snapshots);
		const {freeTree, metaTree} = await stand.pool.store();
		const fresh = new Pool(stand.held, {freeTree, metaTree, horizon: stand.pool.horizon});
		t.deepEqual(await usageOf(stand.pool), await usageOf(fresh), `round ${round}`);
	}
});

test('a count after few changes loads few blocks', async t => {
	const stand = await openPool({leafCount: 400, maxLevel: 3, degree: 8});
	await usageOf(stand.pool);
	await stand.pool.exchange(replaced(5), sealed);
	await secure(stand);
	stand.held.reset();
	const before = stand.server.loads.length;
	t.is((await usageOf(stand.pool)).allocatableCount, 400);
	// One lowest block and its way.
	t.is(stand.server.loads.length - before, 3);
});

test('a snapshot does not hold what was written after it', async t => {
	const stand = await openPool();
	await secure(stand);
	await secure(stand, [1]);
	await stand.pool.exchange(replaced(20, {generation: 2}), sealed);
	await secure(stand, [1]);
	t.is((await usageOf(stand.pool)).heldCount, 0);
});

test('the stored pool opens again with the same entries', async t => {
	const stand = await openPool();
	await stand.pool.exchange(replaced(20), sealed);
	const {freeTree, metaTree} = await stand.pool.store();
	stand.held.reset();
	const horizon = new Horizon({
		currentGeneration: 2,
		lastSecuredGeneration: 1,
		snapshotGenerations: [],
		rekeying: null,
		setAsideCount: 0,
	});
	const again = new Pool(stand.held, {freeTree, metaTree, horizon});
	const {addresses} = await again.exchange(replaced(large.leafCount, {generation: 1, first: 20_000}), sealed);
	t.is(addresses.filter(address => address >= 10_000).length, 20);
});

// Six inner blocks in each pool tree, twelve leaves in the meta tree: just enough, but not from the smaller block
// first.
test('the smallest meta tree that the configuration allows supplies every block of the free tree, again and again', async t => {
	const smallest = {leafCount: 12, maxLevel: 5, degree: 8};
	const stand = await openPool(smallest);
	for (let round = 0; round < 10; round++) {
		const {addresses} = await stand.pool.exchange(
			replaced(smallest.leafCount, {generation: round, first: 10_000 * (round + 1)}),
			sealed,
		);
		t.is(addresses.length, smallest.leafCount, `round ${round}`);
		await secure(stand);
	}
});

test('no block of the pool trees is lost or doubled, whatever is exchanged', async t => {
	const stand = await openPool();
	const before = await allBlocks(stand);
	let first = 10_000;
	const given = new Set<number>();
	for (let round = 0; round < 12; round++) {
		const count = 1 + ((round * 7) % 40);
		const {addresses} = await stand.pool.exchange(replaced(count, {generation: round, first}), sealed);
		for (let i = 0; i < count; i++) {
			given.add(first + i);
		}

		for (const address of addresses) {
			t.true(before.has(address) || given.has(address));
			given.delete(address);
			before.delete(address);
		}

		first += 1000;
		await secure(stand);
	}

	const after = await allBlocks(stand);
	t.deepEqual(
		[...after].sort((a, b) => a - b),
		[...before, ...given].sort((a, b) => a - b),
	);
});

/** Every block that the stored pool trees own: inner blocks and entries. Throws where one has two owners. */
async function allBlocks({pool, server}: Stand): Promise<Set<number>> {
	const {freeTree, metaTree} = await pool.store();
	const owned = new Set<number>();
	const own = (address: number): void => {
		if (owned.has(address)) {
			throw new Error(`PBA ${address} has two owners`);
		}

		owned.add(address);
	};
	const visit = (address: number, level: number): void => {
		own(address);
		const block = server.blocks.get(address)!;
		for (let offset = 0; offset < block.length; offset += 64) {
			const child = block.readUInt32LE(offset);
			if (child !== 0) {
				if (level > 1) {
					visit(child, level - 1);
				} else {
					own(child);
				}
			}
		}
	};
	visit(freeTree.root.address, freeTree.maxLevel);
	visit(metaTree.root.address, metaTree.maxLevel);
	return owned;
}
