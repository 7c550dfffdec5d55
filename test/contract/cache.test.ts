/** The `cache` contract, sentence by sentence, on the component and on the double that unit tests use in its place. */
import {randomBytes} from 'node:crypto';
import type {ExecutionContext} from 'ava';
import cacheComponent from '../../components/cache/component.js';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import {sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import {innerKeyId} from '../../components/lib/container/inner-blocks.js';
import {labelLength, labelOf} from '../../components/lib/format/label.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {cache} from '../../components/sessions/cache.js';
import {crypto} from '../../components/sessions/crypto.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {startComponent} from '../support/component-stand.js';
import {everyOperationHasCases, holdTo, type ContractCases} from '../support/contract-cases.js';
import {MemoryCache} from '../support/memory-cache.js';
import {MemoryMedium} from '../support/memory-medium.js';
import {connectBy, sharedMemoryWays, type SessionWay} from '../support/session-ways.js';

type Cache = Client<typeof cache>;

const frameCount = 300;
const mediumBlockCount = 400;
/** Where the hash stands in a node. */
const hashOffset = 16;
const nodeSize = 64;

interface Stand {
	readonly client: Cache;
	readonly bugs: readonly unknown[];
	/** What lies on the medium, to be looked at and damaged. */
	contentAt(address: number): Buffer;
	/** From now on the medium refuses everything. */
	failWith(code: string): void;
	close(): Promise<void>;
}

/** Every block of it is another one. */
function filledMedium(): MemoryMedium {
	const image = Buffer.alloc(mediumBlockCount * blockSize);
	for (let address = 0; address < mediumBlockCount; address++) {
		image.fill(`block ${address};`, address * blockSize, (address + 1) * blockSize);
	}

	return new MemoryMedium(image);
}

interface ComponentStand extends Stand {
	readonly medium: MemoryMedium;
	/** Another client of the same cache. */
	readonly other: Cache;
}

async function open(way: SessionWay): Promise<ComponentStand> {
	const medium = filledMedium();
	const context = {session: 1, client: 'cache'};
	const onBug = (error: unknown) => {
		throw error;
	};
	const cipher = (await startComponent(cryptoOpenssl)).client(crypto);
	const {publicKey} = await cipher.recipient({});
	await cipher.add_key({
		keyId: innerKeyId,
		cipher: 'aes-256-xts',
		envelope: sealEnvelope(randomBytes(32), publicKey, randomBytes),
	});
	const {running} = await startComponent(cacheComponent, {
		config: {size: `${2 * frameCount * 4}K`},
		sessions: {block: connectLocal(block, medium.handlers, {context, onBug}), crypto: cipher},
		environment: {clientCount: () => 2},
	});
	const ends = connectBy(way, cache, running as never);
	const others = connectBy(way, cache, running as never);
	return {
		medium,
		client: ends.client,
		other: others.client,
		bugs: ends.bugs,
		contentAt: address => medium.image.subarray(address * blockSize, (address + 1) * blockSize),
		failWith(code) {
			medium.before = () => {
				throw new SessionError(code, 'the medium refuses');
			};
		},
		async close() {
			await ends.close();
			await others.close();
		},
	};
}

async function openDouble(): Promise<Stand> {
	const double = new MemoryCache(frameCount);
	const medium = filledMedium();
	for (let address = 0; address < mediumBlockCount; address++) {
		double.put(address, medium.image.subarray(address * blockSize, (address + 1) * blockSize));
	}

	const bugs: unknown[] = [];
	return {
		client: connectLocal(cache, double.client, {
			context: {session: 1, client: 'client'},
			onBug: error => void bugs.push(error),
		}),
		bugs,
		contentAt: address => double.blocks.get(address)!,
		failWith(code) {
			double.before = () => {
				throw new SessionError(code, 'the medium refuses');
			};
		},
		close: async () => undefined,
	};
}

const labelsAt = (stand: Stand, addresses: readonly number[]) =>
	Buffer.concat(addresses.map(address => labelOf(stand.contentAt(address))));

const labelIn = (labels: Uint8Array, index: number) =>
	Buffer.from(labels.subarray(index * labelLength, (index + 1) * labelLength));

const consecutive = (first: number, count: number) => Array.from({length: count}, (_, i) => first + i);

async function memoryOf({client}: Stand): Promise<{memory: Uint8Array; frame: (index: number) => Buffer}> {
	const {memory} = await client.attach({});
	return {
		memory,
		frame: index => Buffer.from(memory.buffer, memory.byteOffset + index * blockSize, blockSize),
	};
}

async function refuses(t: ExecutionContext, code: string, request: Promise<unknown>): Promise<void> {
	await t.throwsAsync(request, {instanceOf: SessionError, code});
}

const cases: ContractCases<Stand> = {
	async 'attach: replies with the frames in one piece'(t, {client}) {
		const attached = await client.attach({});
		t.is(attached.frameCount, frameCount);
		t.is(attached.memory.length, frameCount * blockSize);
	},

	async 'attach: asking again forgets nothing'(t, stand) {
		const {memory} = await memoryOf(stand);
		await stand.client.load({frames: [3], addresses: [20], labels: labelsAt(stand, [20])});
		const again = await memoryOf(stand);
		t.deepEqual(again.frame(3), Buffer.from(stand.contentAt(20)));
		memory[0] = 77;
		t.is(again.memory[0], 77);
	},

	async 'load: reads the blocks at the addresses into the frames'(t, stand) {
		const {frame} = await memoryOf(stand);
		const addresses = [9, 2, 30];
		t.deepEqual(await stand.client.load({frames: [5, 0, 299], addresses, labels: labelsAt(stand, addresses)}), {
			mismatched: [],
		});
		t.deepEqual(
			[5, 0, 299].map(frame),
			addresses.map(address => Buffer.from(stand.contentAt(address))),
		);
	},

	async 'load: as many blocks as there are frames'(t, stand) {
		const {frame} = await memoryOf(stand);
		const addresses = consecutive(50, frameCount).reverse();
		const labels = labelsAt(stand, addresses);
		t.deepEqual(await stand.client.load({frames: consecutive(0, frameCount), addresses, labels}), {mismatched: []});
		t.true([0, 255, 256, 299].every(i => frame(i).equals(stand.contentAt(addresses[i]))));
	},

	async 'load: blocks that do not match their labels are listed by index, and their frames zeroed'(t, stand) {
		const {frame, memory} = await memoryOf(stand);
		memory.fill(7);
		const addresses = [9, 2, 30, 31];
		const labels = labelsAt(stand, addresses);
		stand.contentAt(2)[4095] ^= 1;
		labels[3 * labelLength] ^= 1;
		t.deepEqual(await stand.client.load({frames: [0, 1, 2, 3], addresses, labels}), {mismatched: [1, 3]});
		t.deepEqual(frame(0), Buffer.from(stand.contentAt(9)));
		t.deepEqual(frame(2), Buffer.from(stand.contentAt(30)));
		t.true([1, 3].every(i => frame(i).every(byte => byte === 0)));
		t.true(frame(4).every(byte => byte === 7));
	},

	async 'verify: compares each block with its label, and keeps nothing'(t, stand) {
		const {memory} = await memoryOf(stand);
		memory.fill(7);
		const addresses = consecutive(20, 270);
		const labels = labelsAt(stand, addresses);
		t.deepEqual(await stand.client.verify({addresses, labels}), {mismatched: []});
		stand.contentAt(25)[0] ^= 1;
		stand.contentAt(20 + 269)[0] ^= 1;
		t.deepEqual(await stand.client.verify({addresses, labels}), {mismatched: [5, 269]});
		t.true(memory.every(byte => byte === 7));
	},

	async 'store: writes the blocks to the addresses, and replies with their labels in that order'(t, stand) {
		const {frame} = await memoryOf(stand);
		frame(0).fill('first');
		frame(1).fill('second');
		const {labels} = await stand.client.store({frames: [1, 0], addresses: [40, 7], places: []});
		t.deepEqual(Buffer.from(stand.contentAt(40)), Buffer.alloc(blockSize, 'second'));
		t.deepEqual(Buffer.from(stand.contentAt(7)), Buffer.alloc(blockSize, 'first'));
		t.deepEqual(Buffer.from(labels), labelsAt(stand, [40, 7]));
	},

	async 'store: labels go to their places before the next block is labelled'(t, stand) {
		const {frame} = await memoryOf(stand);
		for (const i of [0, 1, 2]) {
			frame(i).fill(i + 1);
		}

		// Two children into the nodes 3 and 63 of the third block, and the first one into a node of the second, too.
		const places = [0, 2 * 64 + 3, 0, 1 * 64, 1, 2 * 64 + 63];
		const {labels} = await stand.client.store({frames: [0, 1, 2], addresses: [60, 61, 62], places});
		const parent = Buffer.from(stand.contentAt(62));
		t.deepEqual(parent.subarray(3 * nodeSize + hashOffset).subarray(0, labelLength), labelIn(labels, 0));
		t.deepEqual(parent.subarray(63 * nodeSize + hashOffset).subarray(0, labelLength), labelIn(labels, 1));
		const sibling = Buffer.from(stand.contentAt(61));
		t.deepEqual(sibling.subarray(hashOffset, hashOffset + labelLength), labelIn(labels, 0));
		t.deepEqual(labelsAt(stand, [60, 61, 62]), Buffer.from(labels));
		t.is(parent[4 * nodeSize + hashOffset], 3);
	},

	async 'store: what was stored loads again with the labels of the reply'(t, stand) {
		const {frame, memory} = await memoryOf(stand);
		for (let i = 0; i < frameCount; i++) {
			frame(i).fill(`frame ${i};`);
		}

		const frames = consecutive(0, frameCount);
		const addresses = consecutive(80, frameCount).reverse();
		const {labels} = await stand.client.store({frames, addresses, places: []});
		memory.fill(0);
		t.deepEqual(await stand.client.load({frames, addresses, labels}), {mismatched: []});
		t.true([0, 255, 256, 299].every(i => frame(i).equals(Buffer.alloc(blockSize, `frame ${i};`))));
	},

	async 'vectors that do not fit each other are refused, and nothing happens'(t, stand) {
		const {memory} = await memoryOf(stand);
		memory.fill(7);
		const labels = labelsAt(stand, [9, 2]);
		const before = Buffer.from(stand.contentAt(9));
		await refuses(t, 'out_of_range', stand.client.load({frames: [0], addresses: [9, 2], labels}));
		await refuses(t, 'out_of_range', stand.client.load({frames: [0, 1, 2], addresses: [9, 2, 3], labels}));
		await refuses(t, 'out_of_range', stand.client.verify({addresses: [9, 2], labels: labels.subarray(1)}));
		await refuses(t, 'out_of_range', stand.client.store({frames: [0, 1], addresses: [9], places: []}));
		await refuses(t, 'out_of_range', stand.client.store({frames: [0], addresses: [9], places: [1, 5]}));
		await refuses(t, 'out_of_range', stand.client.store({frames: [0], addresses: [9], places: [0]}));
		t.true(memory.every(byte => byte === 7));
		t.deepEqual(Buffer.from(stand.contentAt(9)), before);
	},

	async 'device_failed: the medium failed'(t, stand) {
		const labels = labelsAt(stand, [9]);
		stand.failWith('device_failed');
		await refuses(t, 'device_failed', stand.client.load({frames: [0], addresses: [9], labels}));
		await refuses(t, 'device_failed', stand.client.store({frames: [0], addresses: [9], places: []}));
	},

	async "no_space: there is no room on the medium's host"(t, stand) {
		stand.failWith('no_space');
		await refuses(t, 'no_space', stand.client.store({frames: [0], addresses: [9], places: []}));
	},
};

const componentCases: ContractCases<ComponentStand> = {
	async 'a frame or a node beyond the memory of the client is refused'(t, stand) {
		const {client} = stand;
		const labels = labelsAt(stand, [9]);
		await refuses(t, 'out_of_range', client.load({frames: [frameCount], addresses: [9], labels}));
		await refuses(t, 'out_of_range', client.store({frames: [frameCount], addresses: [9], places: []}));
		const places = [0, frameCount * 64];
		await refuses(t, 'out_of_range', client.store({frames: [0], addresses: [9], places}));
	},

	async 'attach: each client has frames of its own'(t, stand) {
		const ours = await memoryOf(stand);
		const {memory: theirs} = await stand.other.attach({});
		await stand.client.load({frames: [0], addresses: [9], labels: labelsAt(stand, [9])});
		t.true(theirs.every(byte => byte === 0));
		await stand.other.load({frames: [0], addresses: [2], labels: labelsAt(stand, [2])});
		t.deepEqual(ours.frame(0), Buffer.from(stand.contentAt(9)));
	},

	async 'store: durable only by a `sync` of the medium, which it does not ask for'(t, {client, medium}) {
		const asked: string[] = [];
		medium.before = operation => void asked.push(operation);
		await client.store({frames: [0], addresses: [9], places: []});
		t.deepEqual(asked, ['write']);
	},

	async 'encrypted: blocks lie encrypted on the medium, and labels are of what lies there'(t, stand) {
		const {client, contentAt} = stand;
		const {frame, memory} = await memoryOf(stand);
		for (const i of [0, 1]) {
			frame(i).fill(i + 1);
		}

		const places = [0, 1 * 64 + 5];
		const addresses = [60, 61];
		const {labels} = await client.store({frames: [0, 1], addresses, places, encrypted: true});
		t.false(Buffer.from(contentAt(60)).equals(Buffer.alloc(blockSize, 1)));
		t.deepEqual(await client.verify({addresses, labels}), {mismatched: []});
		memory.fill(0);
		t.deepEqual(await client.load({frames: [7, 8], addresses, labels, encrypted: true}), {mismatched: []});
		t.deepEqual(frame(7), Buffer.alloc(blockSize, 1));
		t.deepEqual(
			frame(8)
				.subarray(5 * nodeSize + hashOffset)
				.subarray(0, labelLength),
			labelIn(labels, 0),
		);
		contentAt(60)[0] ^= 1;
		t.deepEqual(await client.load({frames: [7, 8], addresses, labels, encrypted: true}), {mismatched: [0]});
		t.true(frame(7).every(byte => byte === 0));
		t.is(frame(8)[0], 2);
	},
};

holdTo('cache', {ways: sharedMemoryWays, open, cases: {...cases, ...componentCases}});
holdTo('the double in memory', {ways: ['on one thread'], open: openDouble, cases});

everyOperationHasCases(cache, {...cases, ...componentCases});
