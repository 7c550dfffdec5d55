import test from 'ava';
import {SessionError} from '../../../runtime/sdk/session.js';
import {MemoryCache} from '../../../test/support/memory-cache.js';
import {blockSize} from '../format/geometry.js';
import {HeldBlocks, frameCountMin, type WantedBlock} from './held-blocks.js';
import {labelOf} from '../format/label.js';
import {labelWordsOf} from '../format/node-blocks.js';

function blockOf(value: number): Buffer {
	const block = Buffer.alloc(blockSize);
	block.writeUInt32LE(value, 0);
	return block;
}

/** Puts a block with its address as its content on the medium. */
function put(server: MemoryCache, address: number): WantedBlock {
	return {address, label: server.put(address, blockOf(address)), level: 1};
}

function contentOf(held: HeldBlocks, address: number): number | undefined {
	const frame = held.find(address);
	return frame === undefined ? undefined : Buffer.from(held.nodes.block(frame)).readUInt32LE(0);
}

async function setUp(): Promise<{server: MemoryCache; held: HeldBlocks}> {
	const server = new MemoryCache(frameCountMin);
	return {server, held: await HeldBlocks.attach(server.client)};
}

test('a cache that is too small is refused', async t => {
	await t.throwsAsync(HeldBlocks.attach(new MemoryCache(frameCountMin - 1).client), {
		message: /raise the cache's size/,
	});
});

test('a block is found once it was loaded', async t => {
	const {server, held} = await setUp();
	const wanted = put(server, 40);
	t.is(held.find(40), undefined);
	await held.load([wanted]);
	t.is(contentOf(held, 40), 40);
});

test('one damaged block of a load is named, and the others are held', async t => {
	const {server, held} = await setUp();
	const wanted = [put(server, 40), {...put(server, 41), label: labelOf(blockOf(7)), level: 3}, put(server, 42)];
	const error = await t.throwsAsync(held.load(wanted), {instanceOf: SessionError});
	t.is(error.code, 'integrity');
	t.deepEqual(error.detail, {address: 41, level: 3});
	t.is(contentOf(held, 40), 40);
	t.is(held.find(41), undefined);
	t.is(contentOf(held, 42), 42);
});

test('the frame of a damaged block can be used again', async t => {
	const {server, held} = await setUp();
	for (let i = 0; i < 2 * frameCountMin; i++) {
		await t.throwsAsync(held.load([{address: 41, label: labelOf(blockOf(7)), level: 1}]));
	}

	await held.load([put(server, 40)]);
	t.is(contentOf(held, 40), 40);
});

test('loads of the same block at the same time ask for it once', async t => {
	const {server, held} = await setUp();
	const wanted = put(server, 40);
	await Promise.all([held.load([wanted]), held.load([wanted]), held.load([wanted, put(server, 41)])]);
	t.deepEqual(server.loads, [[40], [41]]);
	t.is(contentOf(held, 40), 40);
});

test('changed blocks stay while clean ones are evicted', async t => {
	const {server, held} = await setUp();
	const dirty = held.create(5);
	held.nodes.block(dirty).set(blockOf(99));
	held.markDirty(dirty, 1, -1);
	for (let address = 1000; address < 1000 + 3 * frameCountMin; address++) {
		await held.load([put(server, address)]);
		t.is(contentOf(held, address), address);
	}

	t.is(contentOf(held, 5), 99);
	t.is(held.find(1000), undefined);
});

test('a block that is used all the time is seldom evicted by others that pass through', async t => {
	const {server, held} = await setUp();
	const often = put(server, 40);
	const passCount = 4 * frameCountMin;
	for (let address = 1000; address < 1000 + passCount; address++) {
		await held.load([often]);
		held.find(40);
		await held.load([put(server, address)]);
	}

	// At most once in each round of the clock's hand.
	t.true(server.loads.filter(([address]) => address === 40).length <= 1 + passCount / frameCountMin);
});

test('with every block changed nothing more can be loaded', async t => {
	const {server, held} = await setUp();
	for (let address = 100; address < 100 + frameCountMin; address++) {
		held.markDirty(held.create(address), 1, -1);
	}

	t.true(held.isPressed);
	const error = await t.throwsAsync(held.load([put(server, 40)]), {instanceOf: SessionError});
	t.is(error.code, 'no_space');
	await held.store(() => undefined);
	t.false(held.isPressed);
	await held.load([put(server, 40)]);
	t.is(contentOf(held, 40), 40);
});

/** A parent with one child, both changed. */
function changeFamily(held: HeldBlocks): {parent: number; child: number} {
	const parent = held.create(20);
	const child = held.create(10);
	held.nodes.setPlace(parent, 3, 10, 1);
	held.nodes.block(child).set(blockOf(77));
	held.markDirty(parent, 2, -1);
	held.markDirty(child, 1, parent * 64 + 3);
	return {parent, child};
}

test('changed blocks are stored together, lowest level first, and their labels reach parents and roots', async t => {
	const {server, held} = await setUp();
	const {parent, child} = changeFamily(held);
	const roots: Array<[number, Uint8Array]> = [];
	t.is(await held.store((mark, hash) => roots.push([mark, hash])), 2);
	t.deepEqual(server.stores, [[10, 20]]);
	t.deepEqual(Buffer.from(held.nodes.hash(parent, 3)), labelOf(held.nodes.block(child)));
	t.deepEqual(
		roots.map(([mark, hash]) => [mark, Buffer.from(hash)]),
		[[-1, labelOf(held.nodes.block(parent))]],
	);
	t.is(held.dirtyCount, 0);
	t.is(await held.store(() => undefined), 0);
});

test('a store that failed can be repeated, with nothing forgotten', async t => {
	const {server, held} = await setUp();
	const {parent} = changeFamily(held);
	server.failStores();
	await t.throwsAsync(
		held.store(() => undefined),
		{message: 'the medium failed'},
	);
	t.is(held.dirtyCount, 2);
	server.before = () => undefined;
	let rootHash: Uint8Array = new Uint8Array();
	t.is(
		await held.store((_mark, hash) => {
			rootHash = hash;
		}),
		2,
	);
	t.deepEqual(Buffer.from(rootHash), labelOf(held.nodes.block(parent)));
});

test('a moved block is found at its new address alone, and its old content stays on the medium', async t => {
	const {server, held} = await setUp();
	await held.load([put(server, 40)]);
	const frame = held.find(40)!;
	held.move(frame, 50);
	held.markDirty(frame, 1, -1);
	held.nodes.block(frame).set(blockOf(51));
	t.is(held.find(40), undefined);
	t.is(contentOf(held, 50), 51);
	await held.store(() => undefined);
	t.deepEqual(server.blocks.get(40), blockOf(40));
	t.deepEqual(server.blocks.get(50), blockOf(51));
});

test('an address that comes back with other content shows the new one', async t => {
	const {server, held} = await setUp();
	await held.load([put(server, 40), put(server, 41)]);
	held.move(held.find(41)!, 40);
	t.is(contentOf(held, 40), 41);
	for (let address = 1000; address < 1000 + 2 * frameCountMin; address++) {
		await held.load([put(server, address)]);
		t.is(contentOf(held, 40), 41, 'evicting the stale block must not take the new one away');
	}
});

test('a reset forgets changes too', async t => {
	const {server, held} = await setUp();
	changeFamily(held);
	held.reset();
	t.is(held.find(10), undefined);
	t.is(await held.store(() => undefined), 0);
	t.deepEqual(server.stores, []);
});

/** A held parent block whose node `index` names a child. */
function parentOf(held: HeldBlocks, {address, label}: WantedBlock, index: number): number {
	const frame = held.find(20) ?? held.create(20);
	held.markDirty(frame, 2, -1);
	held.nodes.setPlace(frame, index, address, 1);
	held.nodes.setHash(frame, index, label, 0);
	return frame * 64 + index;
}

test('a node whose label is another than that of the block held at its address does not get that block', async t => {
	const {server, held} = await setUp();
	const good = put(server, 40);
	const stranger = {...good, label: labelOf(blockOf(7))};
	const [meant, other] = [parentOf(held, good, 0), parentOf(held, stranger, 1)];
	await held.load([good]);
	t.is(held.findChild(40, meant), held.find(40));
	t.is(held.findChild(40, other), undefined);
	const error = await t.throwsAsync(held.load([stranger]), {instanceOf: SessionError});
	t.is(error.code, 'integrity');
	t.is(held.findChild(40, meant), held.find(40), 'the good block is still held');
	// The medium has changed: now it is the other one's.
	server.put(40, blockOf(7));
	await held.load([stranger]);
	t.is(contentOf(held, 40), 7);
	t.is(held.findChild(40, other), held.find(40));
	t.is(held.findChild(40, meant), undefined);
});

test('a changed block belongs to the nodes that get its label alone', async t => {
	const {server, held} = await setUp();
	const old = put(server, 10);
	const {parent, child} = changeFamily(held);
	const [meant, shared, other] = [parent * 64 + 3, parent * 64 + 4, parentOf(held, old, 5)];
	held.addParent(child, shared);
	t.is(held.findChild(10, meant), child);
	t.is(held.findChild(10, shared), child);
	t.is(held.findChild(10, other), undefined);
	const error = await t.throwsAsync(held.load([old]), {instanceOf: SessionError});
	t.is(error.code, 'integrity');
	await held.store(() => undefined);
	t.is(held.findChild(10, meant), child, 'stored, it is known by its new label');
});

test('a root block is held for the root node with its label alone', async t => {
	const {server, held} = await setUp();
	const root = put(server, 40);
	await held.load([root]);
	t.is(held.findRoot(40, -1, labelWordsOf(root.label)), held.find(40));
	t.is(held.findRoot(40, -1, labelWordsOf(labelOf(blockOf(7)))), undefined);
	held.markDirty(held.find(40)!, 1, -1);
	t.is(held.findRoot(40, -2, labelWordsOf(root.label)), undefined);
	t.is(held.findRoot(40, -1, labelWordsOf(root.label)), held.find(40));
});
