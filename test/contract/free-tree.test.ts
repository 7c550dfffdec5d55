/** The `free_tree` contract, sentence by sentence. */
import type {ExecutionContext} from 'ava';
import freeTreeComponent from '../../components/free_tree/component.js';
import {freeTree} from '../../components/sessions/free-tree.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {startComponent} from '../support/component-stand.js';
import {everyOperationHasCases, holdTo, type ContractCases} from '../support/contract-cases.js';
import {layOutPool, type PoolLayout} from '../support/pool-layout.js';
import {connectBy, sessionWays, type SessionWay} from '../support/session-ways.js';

type FreeTree = Client<typeof freeTree>;

const dimensions = {leafCount: 64, maxLevel: 3, degree: 8};
const {leafCount} = dimensions;

/** What no pool has. */
const replacedFirst = 10_000;

interface Stand extends PoolLayout {
	readonly client: FreeTree;
	readonly bugs: readonly unknown[];
	close(): Promise<void>;
}

async function open(way: SessionWay): Promise<Stand> {
	const layout = await layOutPool(dimensions);
	const {running} = await startComponent(freeTreeComponent, {sessions: {cache: layout.server.client}});
	const ends = connectBy(way, freeTree, running as never);
	const stand = {...layout, client: ends.client, bugs: ends.bugs, close: async () => ends.close()};
	await openTrees(stand);
	return stand;
}

const noHorizon = {
	currentGeneration: 1,
	lastSecuredGeneration: 0,
	snapshotGenerations: [] as number[],
	rekeying: null as null | {previousKeyId: number; rekeyingVba: number},
	setAsideCount: 0,
};

async function openTrees(
	{client, superblock}: Pick<Stand, 'client' | 'superblock'>,
	horizon: Partial<typeof noHorizon> = {},
): Promise<void> {
	const {freeTree, metaTree} = superblock;
	await client.open({freeTree, metaTree, horizon: {...noHorizon, ...horizon}});
}

/** Replaced blocks, as a writer names them. */
function replaced(
	count: number,
	{generation = 0, first = replacedFirst}: {generation?: number; first?: number} = {},
): number[] {
	return Array.from({length: count}, (_, i) => [first + i, generation, i]).flat();
}

const kept = {keyId: 1, reserved: true};

/** Stores and secures `generation`; the next one is written from now on. */
async function secure(client: FreeTree, generation: number, horizon: Partial<typeof noHorizon> = {}) {
	const trees = await client.store({});
	await client.begin({currentGeneration: generation + 1});
	const {snapshotGenerations, rekeying, setAsideCount} = {...noHorizon, ...horizon};
	await client.advance({lastSecuredGeneration: generation, snapshotGenerations, rekeying, setAsideCount});
	return trees;
}

const sorted = (values: readonly number[]) => [...values].sort((a, b) => a - b);
const consecutive = (first: number, count: number) => Array.from({length: count}, (_, i) => first + i);

/** What blocks taken ahead have replaced, as a writer books it. */
function bookings(taken: readonly number[], {generation = 0} = {}): number[] {
	return taken.flatMap((address, i) => [address, replacedFirst + i, generation, i, 1]);
}

async function spareOf(client: FreeTree): Promise<number[]> {
	return (await client.spare({ranges: [0, leafCount]})).addresses;
}

async function refuses(t: ExecutionContext, code: string, request: Promise<unknown>): Promise<void> {
	await t.throwsAsync(request, {instanceOf: SessionError, code});
}

/** Counts everything that one snapshot alone holds. */
async function soleHoldings(client: FreeTree): Promise<Array<[number, number]>> {
	const counts = new Map<number, number>();
	for (let firstLeaf: number | null = 0; firstLeaf !== null;) {
		const part = await client.sole_holdings({firstLeaf});
		for (const {generation, blockCount} of part.holdings) {
			counts.set(generation, (counts.get(generation) ?? 0) + blockCount);
		}

		firstLeaf = part.nextLeaf;
	}

	return [...counts].sort(([a], [b]) => a - b);
}

const cases: ContractCases<Stand> = {
	async 'open: starts over from the secured trees; everything not stored is forgotten'(t, stand) {
		const {addresses} = await stand.client.exchange({items: replaced(leafCount), ...kept});
		await openTrees(stand);
		const again = await stand.client.exchange({items: replaced(leafCount), ...kept});
		t.deepEqual(sorted(again.addresses), sorted(addresses));
	},

	async 'open: nothing can be asked for before'(t, {server, client}) {
		const other = await startComponent(freeTreeComponent, {sessions: {cache: server.client}});
		await refuses(t, 'bad_request', other.client(freeTree).usage({}));
		t.is((await client.usage({})).leafCount, leafCount);
	},

	async 'exchange: hands out as many new PBAs as it takes in, none twice'(t, {client}) {
		const first = await client.exchange({items: replaced(10), ...kept});
		const second = await client.exchange({items: replaced(30, {first: 20_000}), ...kept});
		t.is(first.addresses.length, 10);
		t.is(second.addresses.length, 30);
		t.is(new Set([...first.addresses, ...second.addresses]).size, 40);
		t.true([...first.addresses, ...second.addresses].every(address => address < replacedFirst));
	},

	async 'exchange: `leaves` names the pool entry that each exchange used'(t, {client}) {
		const {addresses, leaves} = await client.exchange({items: replaced(5), ...kept});
		t.is(new Set(leaves).size, 5);
		await client.restore({leaves, addresses});
		for (const [i, leaf] of leaves.entries()) {
			t.deepEqual((await client.spare({ranges: [leaf, 1]})).addresses, [addresses[i]]);
		}
	},

	async 'exchange: the replaced block is kept until no secured state needs it'(t, {client}) {
		await client.exchange({items: replaced(leafCount), ...kept});
		await refuses(t, 'no_space', client.exchange({items: replaced(1, {first: 20_000}), ...kept}));
		await secure(client, 1);
		const {addresses} = await client.exchange({items: replaced(leafCount, {first: 20_000}), ...kept});
		t.deepEqual(sorted(addresses), consecutive(replacedFirst, leafCount));
	},

	async 'exchange: the replaced block is kept until no snapshot needs it'(t, {client}) {
		await secure(client, 1, {snapshotGenerations: [1]});
		await client.exchange({items: replaced(leafCount, {generation: 1}), ...kept});
		await secure(client, 2, {snapshotGenerations: [1]});
		await refuses(t, 'no_space', client.exchange({items: replaced(1), ...kept}));
		await client.advance({
			lastSecuredGeneration: 2,
			snapshotGenerations: [],
			rekeying: null,
			setAsideCount: 0,
		});
		t.is(
			(await client.exchange({items: replaced(leafCount, {first: 20_000}), ...kept})).addresses.length,
			leafCount,
		);
	},

	async 'exchange: where nothing is `reserved` no snapshot needs the replaced blocks'(t, {client}) {
		await secure(client, 1, {snapshotGenerations: [1]});
		await client.exchange({items: replaced(leafCount, {generation: 1}), keyId: 1, reserved: false});
		await secure(client, 2, {snapshotGenerations: [1]});
		t.is((await client.usage({})).allocatableCount, leafCount);
	},

	async 'exchange: all or nothing'(t, {client}) {
		await refuses(t, 'no_space', client.exchange({items: replaced(leafCount + 1), ...kept}));
		t.is((await client.usage({})).allocatableCount, leafCount);
		t.is((await client.exchange({items: replaced(leafCount), ...kept})).addresses.length, leafCount);
	},

	async 'exchange: what is set aside is handed out for `relief` alone'(t, stand) {
		await openTrees(stand, {setAsideCount: 10});
		const {client} = stand;
		await refuses(t, 'no_space', client.exchange({items: replaced(leafCount - 9), ...kept}));
		t.is((await client.exchange({items: replaced(leafCount - 10), ...kept})).addresses.length, leafCount - 10);
		await refuses(t, 'no_space', client.exchange({items: replaced(1, {first: 20_000}), ...kept}));
		const {addresses} = await client.exchange({items: replaced(10, {first: 20_000}), ...kept, relief: true});
		t.is(addresses.length, 10);
	},

	async 'take_ahead: hands out up to `count` blocks, none of which is handed out again before the generation is secured'(
		t,
		{client},
	) {
		const ahead = await client.take_ahead({count: 5});
		t.is(new Set(ahead.addresses).size, 5);
		t.is(new Set(ahead.leaves).size, 5);
		const {addresses} = await client.exchange({items: replaced(leafCount - 5), ...kept});
		t.false(addresses.some(address => ahead.addresses.includes(address)));
		await refuses(t, 'no_space', client.exchange({items: replaced(1, {first: 20_000}), ...kept}));
		const state = await secure(client, 1);
		t.is((await client.usage({})).allocatableCount, leafCount);
		const {storedBlockCount: _, ...trees} = state;
		await client.open({...trees, horizon: {...noHorizon, currentGeneration: 2, lastSecuredGeneration: 1}});
		const spare = await spareOf(client);
		t.is(spare.length, leafCount);
		t.true(ahead.addresses.every(address => spare.includes(address)));
	},

	async 'take_ahead: fewer, perhaps none, where the pool is not ample'(t, stand) {
		await openTrees(stand, {setAsideCount: 40});
		const {client} = stand;
		const few = await client.take_ahead({count: 20});
		t.true(few.addresses.length > 0 && few.addresses.length <= 20 / 4, String(few.addresses.length));
		await client.exchange({items: replaced(leafCount - 40 - few.addresses.length), ...kept});
		t.deepEqual(await client.take_ahead({count: 20}), {addresses: [], leaves: []});
	},

	async 'take_ahead: no snapshot holds what is handed out'(t, {client}) {
		await secure(client, 1, {snapshotGenerations: [1]});
		await client.take_ahead({count: 4});
		t.like(await client.usage({}), {allocatableCount: leafCount - 4, heldCount: 0});
		await secure(client, 2, {snapshotGenerations: [1]});
		t.like(await client.usage({}), {allocatableCount: leafCount, heldCount: 0});
	},

	async 'book: takes in what was replaced, as an exchange does'(t, {client}) {
		await secure(client, 1, {snapshotGenerations: [1]});
		const {addresses, leaves} = await client.take_ahead({count: 3});
		await client.book({items: bookings(addresses, {generation: 1}), leaves});
		t.like(await client.usage({}), {allocatableCount: leafCount - 3, heldCount: 3});
		await secure(client, 2);
		const spare = await spareOf(client);
		t.is(spare.length, leafCount);
		t.deepEqual(sorted(spare).slice(-3), consecutive(replacedFirst, 3));
		t.false(spare.some(address => addresses.includes(address)));
	},

	async 'book: of what was not taken ahead in this generation nothing is booked, nor of the rest'(t, stand) {
		const {client} = stand;
		const taken = await client.take_ahead({count: 3});
		// What is not stored has never happened.
		await openTrees(stand);
		const stale = {items: bookings(taken.addresses), leaves: taken.leaves};
		await refuses(t, 'integrity', client.book(stale));
		t.is((await client.usage({})).allocatableCount, leafCount);
		const again = await client.take_ahead({count: 2});
		t.deepEqual(again.addresses, taken.addresses.slice(0, 2));
		await refuses(t, 'integrity', client.book(stale));
		await client.restore(again);
		t.is((await client.usage({})).allocatableCount, leafCount);
	},

	async 'restore: with `isNext` they are the next to be handed out'(t, {client}) {
		const ahead = await client.take_ahead({count: 5});
		await client.exchange({items: replaced(30), ...kept});
		const rest = {leaves: ahead.leaves.slice(2), addresses: ahead.addresses.slice(2)};
		await client.restore({...rest, isNext: true});
		t.deepEqual((await client.exchange({items: replaced(3, {first: 20_000}), ...kept})).addresses, rest.addresses);
	},

	async 'reserve: what is handed out stays listed in its entry, reserved as the items say'(t, {client}) {
		await secure(client, 1, {snapshotGenerations: [1]});
		// A node of generation 1, freed in generation 2: the snapshot of generation 1 has it.
		const {addresses, leaves} = await client.reserve({items: consecutive(0, 4).flatMap(vba => [1, 2, vba, 1])});
		t.is(new Set(addresses).size, 4);
		t.is(leaves.length, 4);
		t.like(await client.usage({}), {allocatableCount: leafCount - 4, heldCount: 4});
		await secure(client, 2);
		t.deepEqual(
			sorted((await client.spare({ranges: [0, leafCount]})).addresses).filter(address =>
				addresses.includes(address),
			),
			sorted(addresses),
		);
	},

	async 'reserve: all or nothing'(t, {client}) {
		await refuses(
			t,
			'no_space',
			client.reserve({items: consecutive(0, leafCount + 1).flatMap(vba => [1, 2, vba, 1])}),
		);
		t.like(await client.usage({}), {allocatableCount: leafCount, heldCount: 0});
	},

	async 'sweep: frees entries of leaves below `rekeyingVba` that only held content under the previous key'(
		t,
		{client},
	) {
		await secure(client, 1, {snapshotGenerations: [1]});
		await client.exchange({items: replaced(8, {generation: 1}), keyId: 1, reserved: true});
		await client.exchange({items: replaced(8, {generation: 1, first: 20_000}), keyId: 2, reserved: true});
		await secure(client, 2, {snapshotGenerations: [1]});
		t.is((await client.usage({})).heldCount, 16);
		let nextLeaf: number | null = 0;
		while (nextLeaf !== null) {
			({nextLeaf} = await client.sweep({firstLeaf: nextLeaf, rekeyed: {previousKeyId: 1, rekeyingVba: 5}}));
		}

		// Of the first eight those of VBA 0 to 4.
		t.is((await client.usage({})).heldCount, 11);
	},

	async 'restore: undoes exchanges of the current generation whose new blocks were never used'(t, {client}) {
		const {addresses, leaves} = await client.exchange({items: replaced(leafCount), ...kept});
		await client.restore({leaves: leaves.slice(0, 3), addresses: addresses.slice(0, 3)});
		const again = await client.exchange({items: replaced(3, {first: 20_000}), ...kept});
		t.deepEqual(sorted(again.addresses), sorted(addresses.slice(0, 3)));
	},

	async 'swap: takes blocks out of the entries that are named, and others in for them'(t, {client}) {
		const exchanged = await client.exchange({items: replaced(3), ...kept});
		await secure(client, 1);
		await client.swap({
			items: [replacedFirst, 30_000, 1, 0, replacedFirst + 1, 30_001, 1, 1],
			leaves: exchanged.leaves.slice(0, 2),
			keyId: 1,
		});
		await secure(client, 2);
		const {addresses} = await client.spare({ranges: [0, leafCount]});
		t.true(addresses.includes(30_000) && addresses.includes(30_001) && addresses.includes(replacedFirst + 2));
		t.false(addresses.includes(replacedFirst) || addresses.includes(replacedFirst + 1));
	},

	async 'swap: where no entry is named all are searched'(t, {client}) {
		await client.exchange({items: replaced(3), ...kept});
		await secure(client, 1);
		await client.swap({items: [replacedFirst + 2, 30_000, 1, 2], leaves: [], keyId: 1});
		await secure(client, 2);
		const {addresses} = await client.spare({ranges: [0, leafCount]});
		t.true(addresses.includes(30_000));
		t.false(addresses.includes(replacedFirst + 2));
	},

	async 'swap: all or nothing'(t, {client}) {
		const exchanged = await client.exchange({items: replaced(3), ...kept});
		await secure(client, 1);
		const before = await client.spare({ranges: [0, leafCount]});
		const items = [replacedFirst, 30_000, 1, 0, 77_777, 30_001, 1, 1];
		await refuses(t, 'integrity', client.swap({items, leaves: [], keyId: 1}));
		await refuses(t, 'integrity', client.swap({items, leaves: exchanged.leaves.slice(0, 2), keyId: 1}));
		t.deepEqual(await client.spare({ranges: [0, leafCount]}), before);
	},

	async 'extend: adds leaves from PBAs of the range, and replies with what was used'(t, {client}) {
		const grown = await client.extend({firstPba: 50_000, pbaCount: 100, stepCount: 3});
		t.true(grown.usedPbaCount > 0 && grown.usedPbaCount <= 100);
		t.true(grown.addedLeafCount > 0 && grown.addedLeafCount <= grown.usedPbaCount);
		const usage = await client.usage({});
		t.is(usage.leafCount, leafCount + grown.addedLeafCount);
		const {addresses} = await client.spare({ranges: [leafCount, grown.addedLeafCount]});
		t.is(addresses.length, grown.addedLeafCount);
		t.true(addresses.every(address => address >= 50_000 && address < 50_000 + grown.usedPbaCount));
	},

	async 'extend: at most `stepCount` steps of one lowest block each'(t, {client}) {
		const {addedLeafCount} = await client.extend({firstPba: 50_000, pbaCount: 1000, stepCount: 1});
		t.true(addedLeafCount <= dimensions.degree);
		t.deepEqual(await client.extend({firstPba: 60_000, pbaCount: 0, stepCount: 1}), {
			usedPbaCount: 0,
			addedLeafCount: 0,
		});
	},

	async 'store: what it replies with opens as what was stored'(t, stand) {
		const {client} = stand;
		const {addresses} = await client.exchange({items: replaced(20), ...kept});
		const {storedBlockCount, ...trees} = await secure(client, 1);
		t.true(storedBlockCount > 0);
		const before = await client.spare({ranges: [0, leafCount]});
		await client.open({
			...trees,
			horizon: {...noHorizon, currentGeneration: 2, lastSecuredGeneration: 1},
		});
		t.deepEqual(await client.spare({ranges: [0, leafCount]}), before);
		t.false(before.addresses.some(address => addresses.includes(address)));
		t.is((await client.store({})).storedBlockCount, 0);
	},

	async 'store: every changed block goes to the medium, lowest level first'(t, {client, server}) {
		const count = server.stores.length;
		await client.exchange({items: replaced(20), ...kept});
		const {freeTree: free, metaTree: meta, storedBlockCount} = await client.store({});
		const stored = server.stores.slice(count).flat();
		t.is(stored.length, storedBlockCount);
		t.deepEqual(sorted(stored.slice(-2)), sorted([free.root.address, meta.root.address]));
	},

	async 'begin: what is exchanged from now on carries this generation'(t, {client}) {
		await client.store({});
		await client.begin({currentGeneration: 9});
		await client.exchange({items: replaced(2), ...kept});
		await client.advance({
			lastSecuredGeneration: 8,
			snapshotGenerations: [],
			rekeying: null,
			setAsideCount: 0,
		});
		t.is((await client.usage({})).allocatableCount, leafCount - 2);
		await client.advance({
			lastSecuredGeneration: 9,
			snapshotGenerations: [],
			rekeying: null,
			setAsideCount: 0,
		});
		t.is((await client.usage({})).allocatableCount, leafCount);
	},

	async 'advance: a rekeying that was secured lets go of what it has replaced'(t, {client}) {
		await secure(client, 1, {snapshotGenerations: [1]});
		await client.exchange({items: replaced(8, {generation: 1}), keyId: 1, reserved: true});
		await secure(client, 2, {snapshotGenerations: [1]});
		t.is((await client.usage({})).heldCount, 8);
		await client.advance({
			lastSecuredGeneration: 2,
			snapshotGenerations: [1],
			rekeying: {previousKeyId: 1, rekeyingVba: 3},
			setAsideCount: 0,
		});
		t.is((await client.usage({})).heldCount, 5);
	},

	async 'spare: blocks of the ranges that could be handed out now; they may reach beyond the last entry'(
		t,
		{client},
	) {
		const {addresses, leafCount: size} = await client.spare({ranges: [0, 5, leafCount - 3, 1000]});
		t.is(addresses.length, 8);
		t.is(size, leafCount);
		const all = (await client.spare({ranges: [0, leafCount]})).addresses;
		t.is(new Set(all).size, leafCount);
		t.deepEqual(addresses, [...all.slice(0, 5), ...all.slice(-3)]);
		t.deepEqual((await client.spare({ranges: [leafCount, 10]})).addresses, []);
	},

	async 'verify: compares both trees with the medium, part by part, and tells damage'(t, stand) {
		const {client, server, superblock} = stand;
		const check = async () => {
			let checked = 0;
			const damages: string[] = [];
			for (let firstLeaf: number | null = 0; firstLeaf !== null;) {
				const part = await client.verify({firstLeaf});
				checked += part.checkedBlockCount;
				damages.push(...part.damages);
				firstLeaf = part.nextLeaf;
			}

			return {checked, damages};
		};
		// 64 leaves: 8 lowest blocks, one above them, the root; in either tree.
		t.deepEqual(await check(), {checked: 20, damages: []});
		const {address} = superblock.metaTree.root;
		server.blocks.get(address)![100] ^= 1;
		const {damages} = await check();
		t.true(damages.length > 0 && damages.every(text => text.includes('meta tree')), damages.join('\n'));
		t.regex(damages[0], new RegExp(`\\b${address}\\b`));
	},

	async 'sole_holdings: counts blocks that only one kept snapshot holds'(t, {client}) {
		await secure(client, 1, {snapshotGenerations: [1]});
		await secure(client, 2, {snapshotGenerations: [1, 2]});
		await client.exchange({items: replaced(7, {generation: 1}), ...kept});
		await client.exchange({items: replaced(5, {generation: 2, first: 20_000}), ...kept});
		await secure(client, 3, {snapshotGenerations: [1, 2]});
		t.deepEqual(await soleHoldings(client), [[2, 5]]);
		await secure(client, 4, {snapshotGenerations: [1]});
		t.deepEqual(await soleHoldings(client), [[1, 7]]);
	},

	async 'usage: how many blocks there are, can be handed out now, and are held'(t, {client}) {
		t.deepEqual(await client.usage({}), {leafCount, allocatableCount: leafCount, heldCount: 0});
		await client.exchange({items: replaced(6), ...kept});
		t.deepEqual(await client.usage({}), {leafCount, allocatableCount: leafCount - 6, heldCount: 0});
	},

	async 'device_failed: the medium failed, and nothing was changed'(t, {client, server}) {
		server.before = () => {
			throw new SessionError('device_failed', 'the medium failed');
		};
		await refuses(t, 'device_failed', client.exchange({items: replaced(3), ...kept}));
		server.before = () => undefined;
		t.is((await client.exchange({items: replaced(leafCount), ...kept})).addresses.length, leafCount);
	},

	async 'integrity: a block of a tree is not what was stored there'(t, stand) {
		const {client, server, superblock} = stand;
		server.blocks.get(superblock.freeTree.root.address)![4000] ^= 1;
		await refuses(t, 'integrity', client.exchange({items: replaced(3), ...kept}));
	},
};

holdTo('free_tree', {ways: sessionWays, open, cases});
everyOperationHasCases(freeTree, cases);
