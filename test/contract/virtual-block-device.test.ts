/** The `virtual_block_device` contract, sentence by sentence. */
import type {ExecutionContext} from 'ava';
import {allocationKinds} from '../../components/sessions/allocation.js';
import {blockSize} from '../../components/sessions/block.js';
import {virtualBlockDevice, writeBlockCountMax} from '../../components/sessions/virtual-block-device.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {everyOperationHasCases, holdTo, type ContractCases} from '../support/contract-cases.js';
import {connectBy, sessionWays, type SessionWay} from '../support/session-ways.js';
import {filled, firstKeys, keptOf, openTrees, type TreeStandOptions} from '../support/tree-stand.js';

type Device = Client<typeof virtualBlockDevice>;
type Trees = Awaited<ReturnType<typeof openTrees>>;

interface Stand {
	readonly trees: Trees;
	readonly client: Device;
	readonly bugs: readonly unknown[];
	close(): Promise<void>;
}

const leafCount = 64;
const poolLeafCount = 256;

const opening =
	(options: TreeStandOptions) =>
	async (way: SessionWay): Promise<Stand> => {
		const trees = await openTrees(options);
		const ends = connectBy(way, virtualBlockDevice, trees.running as never);
		return {
			trees,
			client: ends.client,
			bugs: ends.bugs,
			async close() {
				await ends.close();
				await trees.stop();
			},
		};
	};

async function contentOf(client: Device, first: number, count: number): Promise<Buffer> {
	const data = filled(count, 0xee);
	await client.read({extents: [first, count], data});
	return data;
}

async function write(client: Device, vba: number, value: number, count = 1): Promise<void> {
	await client.write({extents: [vba, count], data: filled(count, value)});
}

async function refuses(t: ExecutionContext, code: string, request: Promise<unknown>): Promise<void> {
	await t.throwsAsync(request, {instanceOf: SessionError, code});
}

/** The kind of each block. */
async function kindsOf(client: Device, request: Omit<Parameters<Device['allocation']>[0], 'first' | 'count'> = {}) {
	const kinds: number[] = [];
	while (kinds.length < leafCount) {
		const {runs} = await client.allocation({...request, first: kinds.length, count: leafCount - kinds.length});
		for (let i = 0; i < runs.length; i += 2) {
			kinds.push(...Array.from({length: runs[i]}, () => runs[i + 1]));
		}
	}

	return kinds;
}

async function countsOf(client: Device, newestKeptGeneration: number) {
	let usedCount = 0;
	let sharedCount = 0;
	for (let firstVba: number | null = 0; firstVba !== null;) {
		const part = await client.count_written({firstVba, newestKeptGeneration});
		usedCount += part.usedCount;
		sharedCount += part.sharedCount;
		firstVba = part.nextVba;
	}

	return {usedCount, sharedCount};
}

async function verified(client: Device, snapshots: Parameters<Device['verify']>[0]['snapshots'] = []) {
	let checkedBlockCount = 0;
	const damages: string[] = [];
	for (let firstVba: number | null = 0; firstVba !== null;) {
		const part = await client.verify({snapshots, firstVba});
		checkedBlockCount += part.checkedBlockCount;
		damages.push(...part.damages);
		firstVba = part.nextVba;
	}

	return {checkedBlockCount, damages};
}

/** Flips a bit of a block on the medium. */
async function damage({medium}: Trees, address: number): Promise<void> {
	const data = filled(1, 0);
	await medium.read({extents: [address, 1], data});
	data[100] ^= 1;
	await medium.write({extents: [address, 1], data});
}

/** Where the leaf lies, as a flush log would name it. */
async function addressOfNext(client: Device, vba: number): Promise<number> {
	const {changes} = await client.log({countMax: 100});
	return changes!.addresses[changes!.vbas.indexOf(vba)];
}

const cases: ContractCases<Stand> = {
	async 'open: starts over from the secured tree; everything not stored is forgotten'(t, {trees, client}) {
		await write(client, 3, 1);
		const {state} = await trees.secure(client);
		await write(client, 3, 2);
		await write(client, 4, 2);
		await trees.open(state);
		t.deepEqual(await contentOf(client, 3, 2), Buffer.concat([filled(1, 1), filled(1, 0)]));
	},

	async 'open: once it replies nothing from before uses the pool'(t, {trees, client}) {
		await write(client, 0, 1, leafCount);
		const {state} = await trees.secure(client);
		const {allocatableCount} = await trees.pool.usage({});
		// From the stock, with a filling beside them, and by an exchange; all asked for before the opening is.
		const late = [write(trees.vbd, 3, 2), write(trees.vbd, 4, 2), write(trees.vbd, 8, 2, 50)];
		await trees.open(state);
		await Promise.allSettled(late);
		t.is((await trees.pool.usage({})).allocatableCount, allocatableCount);
	},

	async 'read: reads the blocks of the extents in their order'(t, {client}) {
		await client.write({extents: [60, 2, 5, 1], data: Buffer.concat([filled(1, 1), filled(1, 2), filled(1, 3)])});
		const data = filled(4, 9);
		await client.read({extents: [5, 1, 61, 2, 60, 1], data});
		t.deepEqual(data, Buffer.concat([filled(1, 3), filled(1, 2), filled(1, 0), filled(1, 1)]));
	},

	async 'read: what was never written reads as zeroes'(t, {client}) {
		t.deepEqual(await contentOf(client, 0, leafCount), filled(leafCount, 0));
	},

	async 'read: beyond the end or with another payload is refused'(t, {client}) {
		await refuses(t, 'out_of_range', client.read({extents: [leafCount, 1], data: filled(1, 0)}));
		await refuses(t, 'out_of_range', client.read({extents: [63, 2], data: filled(2, 0)}));
		await refuses(t, 'out_of_range', client.read({extents: [0, 2], data: filled(1, 0)}));
	},

	async 'read: a block that is not what was stored is told, and no other'(t, {trees, client}) {
		await write(client, 3, 1, 3);
		await damage(trees, await addressOfNext(client, 4));
		await refuses(t, 'integrity', client.read({extents: [3, 3], data: filled(3, 0)}));
		t.deepEqual(await contentOf(client, 3, 1), filled(1, 1));
		t.deepEqual(await contentOf(client, 5, 1), filled(1, 1));
	},

	async 'write: what does not fit is refused and changes nothing'(t, {client}) {
		await write(client, 0, 7, leafCount);
		await refuses(t, 'out_of_range', write(client, leafCount, 1));
		await refuses(t, 'out_of_range', client.write({extents: [0, 1, 63, 2], data: filled(3, 1)}));
		await refuses(t, 'out_of_range', client.write({extents: [0, 2], data: filled(1, 1)}));
		t.deepEqual(await contentOf(client, 0, leafCount), filled(leafCount, 7));
	},

	async 'write: at most as many blocks as the contract says'(t, {client}) {
		const extents = Array.from({length: writeBlockCountMax + 1}, (_, i) => [i % leafCount, 1]).flat();
		await refuses(t, 'out_of_range', client.write({extents, data: filled(writeBlockCountMax + 1, 1)}));
		t.deepEqual(await contentOf(client, 0, leafCount), filled(leafCount, 0));
		await client.write({extents: extents.slice(2), data: filled(writeBlockCountMax, 1)});
		t.deepEqual(await contentOf(client, 0, leafCount), filled(leafCount, 1));
	},

	async 'write: `no_space` until the state is secured'(t, {trees, client}) {
		await write(client, 0, 1, leafCount);
		await trees.secure(client);
		let refusal: unknown;
		// Each log makes the next write of a leaf take another place.
		for (let round = 0; refusal === undefined && round < 10; round++) {
			refusal = await write(client, 0, 2, leafCount).catch((error: unknown) => error);
			await client.log({countMax: 100});
		}

		t.like(refusal, {code: 'no_space'});
		await trees.secure(client);
		await write(client, 0, 3, leafCount);
		t.deepEqual(await contentOf(client, 0, leafCount), filled(leafCount, 3));
	},

	async 'clear: blocks read as zeroes, as if never written'(t, {client}) {
		await write(client, 0, 1, 20);
		t.deepEqual(await client.clear({vba: 5, count: 10}), {isChanged: true, nextVba: null});
		t.deepEqual(await contentOf(client, 0, 20), Buffer.concat([filled(5, 1), filled(10, 0), filled(5, 1)]));
		const kinds = await kindsOf(client);
		t.true(kinds.slice(5, 15).every(kind => kind === allocationKinds.hole));
		await write(client, 7, 3);
		t.deepEqual(await contentOf(client, 6, 3), Buffer.concat([filled(1, 0), filled(1, 3), filled(1, 0)]));
	},

	async 'clear: replies whether there was content'(t, {client}) {
		t.deepEqual(await client.clear({vba: 0, count: leafCount}), {isChanged: false, nextVba: null});
		await refuses(t, 'out_of_range', client.clear({vba: 60, count: 5}));
	},

	async 'clear: what older snapshots hold stays'(t, {trees, client}) {
		await write(client, 3, 1);
		const {state} = await trees.secure(client, {isRootKept: true});
		await client.clear({vba: 3, count: 1});
		await trees.secure(client, {snapshots: [keptOf(state)]});
		await write(client, 3, 2);
		const data = filled(1, 0);
		await client.read_snapshot({snapshot: keptOf(state), extents: [3, 1], data});
		t.deepEqual(data, filled(1, 1));
	},

	async 'count_written: blocks that were written, and those that are as old as the newest kept snapshot'(
		t,
		{trees, client},
	) {
		await write(client, 0, 1, 10);
		const {state} = await trees.secure(client, {isRootKept: true});
		await write(client, 5, 2, 10);
		t.deepEqual(await countsOf(client, state.tree.root.generation), {usedCount: 15, sharedCount: 5});
		await client.clear({vba: 0, count: 2});
		t.deepEqual(await countsOf(client, state.tree.root.generation), {usedCount: 13, sharedCount: 3});
	},

	async 'allocation: what is known of the current tree and of a snapshot'(t, {trees, client}) {
		await write(client, 10, 1, 5);
		const {state} = await trees.secure(client, {isRootKept: true});
		await write(client, 40, 1, 5);
		const dataIn = (kinds: readonly number[]) =>
			kinds.flatMap((kind, vba) => (kind === allocationKinds.data ? vba : []));
		t.deepEqual(dataIn(await kindsOf(client)), [10, 11, 12, 13, 14, 40, 41, 42, 43, 44]);
		t.deepEqual(dataIn(await kindsOf(client, {snapshot: keptOf(state)})), [10, 11, 12, 13, 14]);
		await refuses(t, 'out_of_range', client.allocation({first: 60, count: 5}));
	},

	async 'read_snapshot: reads what the snapshot has'(t, {trees, client}) {
		await write(client, 0, 1, leafCount);
		const {state} = await trees.secure(client, {isRootKept: true});
		await write(client, 0, 2, 32);
		await trees.secure(client, {snapshots: [keptOf(state)]});
		await write(client, 0, 3, leafCount);
		const data = filled(leafCount, 0);
		await client.read_snapshot({snapshot: keptOf(state), extents: [0, leafCount], data});
		t.deepEqual(data, filled(leafCount, 1));
		const beyond = client.read_snapshot({snapshot: keptOf(state), extents: [leafCount, 1], data: filled(1, 0)});
		await refuses(t, 'out_of_range', beyond);
	},

	async 'revert: the content of the snapshot is the current content; the snapshot keeps its blocks'(
		t,
		{trees, client},
	) {
		await write(client, 0, 1, 32);
		const {state} = await trees.secure(client, {isRootKept: true});
		const snapshots = [keptOf(state)];
		await write(client, 16, 2, 32);
		await trees.secure(client, {snapshots});
		await client.revert({tree: state.tree, newestKeptGeneration: state.tree.root.generation});
		const before = Buffer.concat([filled(32, 1), filled(32, 0)]);
		t.deepEqual(await contentOf(client, 0, leafCount), before);
		await trees.secure(client, {snapshots});
		await write(client, 0, 3, leafCount);
		await trees.secure(client, {snapshots});
		const data = filled(leafCount, 0);
		await client.read_snapshot({snapshot: keptOf(state), extents: [0, leafCount], data});
		t.deepEqual(data, before);
	},

	async 'revert: everything changed must have been stored'(t, {trees, client}) {
		const {state} = await trees.secure(client, {isRootKept: true});
		await write(client, 16, 2);
		const reverting = client.revert({tree: state.tree, newestKeptGeneration: state.tree.root.generation});
		await refuses(t, 'bad_request', reverting);
		t.deepEqual(await contentOf(client, 16, 1), filled(1, 2));
	},

	async 'set_keys: the keys from now on'(t, {trees, client}) {
		await trees.addKey(2);
		await write(client, 0, 1);
		await client.set_keys({currentKeyId: 2, previousKeyId: 1, rekeyingVba: 0});
		t.deepEqual(await contentOf(client, 0, 1), filled(1, 1));
		// Below the rekeying VBA it is opened with the current key, which it was not sealed with.
		await client.set_keys({currentKeyId: 2, previousKeyId: 1, rekeyingVba: 1});
		t.notDeepEqual(await contentOf(client, 0, 1), filled(1, 1));
	},

	async 'set_keys: where the previous key is lost, reads of what it has sealed fail with `integrity`'(t, {client}) {
		await write(client, 0, 1);
		const keys = {currentKeyId: 2, previousKeyId: 99, rekeyingVba: 0};
		await client.set_keys({...keys, isPreviousKeyLost: true});
		await refuses(t, 'integrity', client.read({extents: [0, 1], data: filled(1, 0)}));
	},

	async 'rekey: seals blocks of the current tree and of all snapshots anew, and moves the rekeying VBA past them'(
		t,
		{trees, client},
	) {
		await write(client, 0, 1, 20);
		const {state} = await trees.secure(client, {isRootKept: true});
		await write(client, 0, 2, 4);
		await trees.secure(client, {snapshots: [keptOf(state)]});
		await trees.addKey(2);
		await client.set_keys({currentKeyId: 2, previousKeyId: 1, rekeyingVba: 0});
		let snapshots = [keptOf(state)];
		let sealedBlockCount = 0;
		for (let rekeyingVba = 0; rekeyingVba < leafCount;) {
			const step = await client.rekey({snapshots, blockCount: 16, untilVba: leafCount});
			t.true(step.rekeyingVba > rekeyingVba && step.rekeyingVba <= rekeyingVba + 16);
			t.is(step.lostBlockCount, 0);
			sealedBlockCount += step.sealedBlockCount;
			({rekeyingVba} = step);
			const stored = await trees.secure(client, {snapshots});
			snapshots = stored.snapshots.length > 0 ? [...stored.snapshots] : snapshots;
		}

		// Twenty of the snapshot, and four that the current tree has anew.
		t.is(sealedBlockCount, 24);
		await client.set_keys({currentKeyId: 2, previousKeyId: 0, rekeyingVba: 0});
		t.deepEqual(await contentOf(client, 0, 21), Buffer.concat([filled(4, 2), filled(16, 1), filled(1, 0)]));
		const data = filled(21, 9);
		await client.read_snapshot({snapshot: snapshots[0], extents: [0, 21], data});
		t.deepEqual(data, Buffer.concat([filled(20, 1), filled(1, 0)]));
	},

	async 'rekey: none from `untilVba` on'(t, {trees, client}) {
		await write(client, 0, 1, leafCount);
		await trees.secure(client);
		await trees.addKey(2);
		await client.set_keys({currentKeyId: 2, previousKeyId: 1, rekeyingVba: 0});
		t.deepEqual(await client.rekey({snapshots: [], blockCount: leafCount, untilVba: 8}), {
			rekeyingVba: 8,
			sealedBlockCount: 8,
			lostBlockCount: 0,
		});
		t.deepEqual(await contentOf(client, 0, leafCount), filled(leafCount, 1));
	},

	async 'rekey: a block that does not match its label is given up, told, counted, and unreadable until it is written'(
		t,
		{trees, client},
	) {
		await write(client, 0, 1, 8);
		await damage(trees, await addressOfNext(client, 3));
		await trees.secure(client);
		await trees.addKey(2);
		await client.set_keys({currentKeyId: 2, previousKeyId: 1, rekeyingVba: 0});
		t.like(await client.rekey({snapshots: [], blockCount: 8, untilVba: 8}), {
			sealedBlockCount: 7,
			lostBlockCount: 1,
		});
		t.true(
			trees.log.some(({child, level, text}) => child === 'vbd' && level === 'error' && text.includes('VBA 3')),
		);
		await refuses(t, 'integrity', client.read({extents: [3, 1], data: filled(1, 0)}));
		t.deepEqual(await contentOf(client, 4, 4), filled(4, 1));
		await write(client, 3, 5);
		t.deepEqual(await contentOf(client, 3, 1), filled(1, 5));
	},

	async 'verify: compares everything, as it lies on the medium, with its labels'(t, {trees, client}) {
		await write(client, 0, 1, 20);
		const leaf = await addressOfNext(client, 7);
		const {state} = await trees.secure(client, {isRootKept: true});
		await write(client, 40, 2, 4);
		const {state: newer} = await trees.secure(client, {snapshots: [keptOf(state)]});
		const {checkedBlockCount, damages} = await verified(client, [keptOf(state)]);
		t.true(checkedBlockCount >= 24 + 10, `${checkedBlockCount}`);
		t.deepEqual(damages, []);
		await damage(trees, leaf);
		await damage(trees, newer.tree.root.address);
		const found = (await verified(client, [keptOf(state)])).damages.join('\n');
		t.regex(found, new RegExp(`\\b${newer.tree.root.address}\\b`));
		t.regex(found, new RegExp(`\\b${leaf}\\b`));
	},

	async 'reclaim: clears on the medium what nobody needs any more'(t, {trees, client}) {
		await write(client, 0, 1, 8);
		const address = await addressOfNext(client, 3);
		const {state} = await trees.secure(client, {isRootKept: true});
		const snapshots = [keptOf(state)];
		await client.clear({vba: 0, count: 8});
		await trees.secure(client, {snapshots});
		const content = async () => {
			const data = filled(1, 9);
			await trees.medium.read({extents: [address, 1], data});
			return data;
		};
		const step = async (kept: typeof snapshots, snapshotGone: number | null) =>
			client.reclaim({
				lastSecuredGeneration: trees.generation() - 1,
				snapshots: kept,
				snapshotGone,
				endLeaf: poolLeafCount,
			});
		while ((await step(snapshots, null)).remainder === 'more') {
			// Until what is due now is done.
		}

		t.notDeepEqual(await content(), filled(1, 0));
		await trees.advance([]);
		let gone: number | null = state.tree.root.generation;
		while ((await step([], gone)).remainder === 'more') {
			gone = null;
		}

		t.deepEqual(await content(), filled(1, 0));
	},

	async 'extend: adds leaves from PBAs of the range, and replies with what was used'(t, {client}) {
		await write(client, 0, 1, leafCount);
		const grown = await client.extend({firstPba: 1500, pbaCount: 100, stepCount: 2});
		t.true(grown.addedLeafCount > 0 && grown.addedLeafCount <= 16);
		t.true(grown.usedPbaCount >= grown.addedLeafCount && grown.usedPbaCount <= 100);
		const added = grown.addedLeafCount;
		t.deepEqual(
			await contentOf(client, 0, leafCount + added),
			Buffer.concat([filled(leafCount, 1), filled(added, 0)]),
		);
		await write(client, leafCount + added - 1, 2);
		t.deepEqual(await contentOf(client, leafCount + added - 1, 1), filled(1, 2));
		await refuses(t, 'out_of_range', write(client, leafCount + added, 1));
	},

	async 'log: the leaves that have changed since the last store or log'(t, {trees, client}) {
		await write(client, 3, 1);
		await client.write({extents: [9, 2], data: filled(2, 1)});
		const {changes} = await client.log({countMax: 10});
		t.deepEqual(
			[...changes!.vbas].sort((a, b) => a - b),
			[3, 9, 10],
		);
		await write(client, 9, 2);
		t.deepEqual((await client.log({countMax: 10})).changes!.vbas, [9]);
		t.deepEqual((await client.log({countMax: 10})).changes!.vbas, []);
		await write(client, 5, 2);
		await trees.secure(client);
		t.deepEqual((await client.log({countMax: 10})).changes!.vbas, []);
	},

	async 'log: null where only `store` helps'(t, {trees, client}) {
		await write(client, 0, 1, 8);
		t.is((await client.log({countMax: 7})).changes, null);
		t.is((await client.log({countMax: 8})).changes!.vbas.length, 8);
		await client.clear({vba: 0, count: 1});
		t.is((await client.log({countMax: 100})).changes, null);
		await trees.secure(client);
		t.deepEqual((await client.log({countMax: 100})).changes!.vbas, []);
	},

	async 'log: from then on nothing overwrites what it names'(t, {trees, client}) {
		await write(client, 3, 1);
		const first = await addressOfNext(client, 3);
		const before = filled(1, 0);
		await trees.medium.read({extents: [first, 1], data: before});
		await write(client, 3, 2);
		t.not(await addressOfNext(client, 3), first);
		const after = filled(1, 0);
		await trees.medium.read({extents: [first, 1], data: after});
		t.deepEqual(after, before);
	},

	async 'replay: makes changes again that `log` replied with'(t, {trees, client}) {
		await write(client, 0, 1, 8);
		const {state} = await trees.secure(client);
		await write(client, 3, 2);
		await write(client, 50, 2);
		const {changes} = await client.log({countMax: 100});
		await trees.open(state);
		t.deepEqual(await contentOf(client, 3, 1), filled(1, 1));
		await client.replay(changes!);
		t.deepEqual(await contentOf(client, 3, 1), filled(1, 2));
		t.deepEqual(await contentOf(client, 50, 1), filled(1, 2));
		const {state: newer} = await trees.secure(client);
		await write(client, 0, 4, leafCount);
		await trees.open(newer);
		t.deepEqual(await contentOf(client, 3, 1), filled(1, 2));
		t.deepEqual((await verified(client)).damages, []);
	},

	async 'replay: a leaf that the device does not have is an `integrity` error'(t, {client}) {
		const changes = {vbas: [leafCount], addresses: [700], leaves: [1], labels: new Uint8Array(32)};
		await refuses(t, 'integrity', client.replay(changes));
	},

	async 'read_with: the current tree is read with the changes on top, and nothing is written'(t, {trees, client}) {
		await write(client, 0, 1, 8);
		const {state} = await trees.secure(client);
		await write(client, 3, 2);
		const {changes} = await client.log({countMax: 100});
		await trees.open(state);
		await client.read_with(changes!);
		t.deepEqual(await contentOf(client, 2, 3), Buffer.concat([filled(1, 1), filled(1, 2), filled(1, 1)]));
		await trees.open(state);
		t.deepEqual(await contentOf(client, 3, 1), filled(1, 1));
	},

	async 'book: the free tree knows what every write has replaced'(t, {trees, client}) {
		await write(client, 0, 1, leafCount);
		const {state} = await trees.secure(client, {isRootKept: true});
		await write(client, 0, 2);
		await client.book({});
		const before = await trees.pool.usage({});
		t.true(before.heldCount > 0);
		// The way is new already: each of these replaces its own block alone.
		for (const vba of [1, 2, 3]) {
			await write(client, vba, 3);
		}

		await client.book({});
		t.is((await trees.pool.usage({})).heldCount, before.heldCount + 3);
		await trees.secure(client, {snapshots: [keptOf(state)]});
		t.is((await trees.pool.usage({})).heldCount, before.heldCount + 3);
	},

	async 'store: what it replies with opens as what was written'(t, {trees, client}) {
		await write(client, 0, 1, 20);
		const {state, storedBlockCount} = await trees.secure(client);
		t.true(storedBlockCount > 0);
		t.is(state.tree.root.generation, 1);
		await write(client, 0, 2, 20);
		await trees.open(state);
		t.deepEqual(await contentOf(client, 0, 21), Buffer.concat([filled(20, 1), filled(1, 0)]));
		t.deepEqual((await verified(client)).damages, []);
	},

	async 'store: everything written later carries the next generation'(t, {trees, client}) {
		await write(client, 0, 1);
		await trees.secure(client);
		await write(client, 0, 2);
		t.is((await trees.secure(client)).state.tree.root.generation, 2);
	},

	async 'store: where its root is kept the current tree gets one of its own generation'(t, {trees, client}) {
		await write(client, 0, 1);
		const {state} = await trees.secure(client, {isRootKept: true});
		const {state: newer} = await trees.secure(client, {snapshots: [keptOf(state)], isRootKept: true});
		t.is(newer.tree.root.generation, 2);
		t.not(newer.tree.root.address, state.tree.root.address);
		t.is((await trees.secure(client)).state.tree.root.generation, 2);
	},
};

const withoutEmptying: ContractCases<Stand> = {
	async 'open: without `emptiesLeaves` a leaf that is cleared is as one that was never written'(t, {trees, client}) {
		await write(client, 0, 1, 20);
		const {state} = await trees.secure(client, {isRootKept: true});
		await client.clear({vba: 5, count: 10});
		const cleared = Buffer.concat([filled(5, 1), filled(10, 0), filled(5, 1)]);
		t.deepEqual(await contentOf(client, 0, 20), cleared);
		const {state: newer} = await trees.secure(client, {snapshots: [keptOf(state)]});
		await write(client, 5, 3);
		await trees.open(newer, {keys: firstKeys, snapshots: [keptOf(state)]});
		t.deepEqual(await contentOf(client, 0, 20), cleared);
		const data = filled(20, 0);
		await client.read_snapshot({snapshot: keptOf(state), extents: [0, 20], data});
		t.deepEqual(data, filled(20, 1));
		t.is(data.length, 20 * blockSize);
	},

	async 'revert: where leaves cannot be emptied'(t, {trees, client}) {
		await write(client, 0, 1, 4);
		const {state} = await trees.secure(client, {isRootKept: true});
		const snapshots = [keptOf(state)];
		await write(client, 2, 2, 20);
		await trees.secure(client, {snapshots});
		await client.revert({tree: state.tree, newestKeptGeneration: state.tree.root.generation});
		t.deepEqual(await contentOf(client, 0, leafCount), Buffer.concat([filled(4, 1), filled(leafCount - 4, 0)]));
		await trees.secure(client, {snapshots});
		t.deepEqual((await verified(client, snapshots)).damages, []);
	},
};

holdTo('virtual_block_device', {ways: sessionWays, open: opening({leafCount, poolLeafCount}), cases});
holdTo('virtual_block_device of older containers', {
	ways: ['on one thread'],
	open: opening({leafCount, poolLeafCount, emptiesLeaves: false}),
	cases: withoutEmptying,
});
everyOperationHasCases(virtualBlockDevice, cases);
