/** What every provider of a `block` session must do, whatever stands behind it. */
import test from 'ava';
import blockFault from '../../components/block_fault/component.js';
import blockFile from '../../components/block_file/component.js';
import blockRam from '../../components/block_ram/component.js';
import blockTrace from '../../components/block_trace/component.js';
import {allocationKinds} from '../../components/sessions/allocation.js';
import {block, blockSize} from '../../components/sessions/block.js';
import type {Component} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import {startComponent, temporaryDirectory} from '../support/component-stand.js';
import {TestEnvironment} from '../support/test-environment.js';
import {endProviderProcess} from '../support/provider-process.js';
import {openDevice} from '../support/device-stand.js';
import {startInProcess} from '../support/providers.js';
import {SeededRandom} from '../support/seeded-random.js';

type Block = Client<typeof block>;

interface Provider {
	readonly name: string;
	/** A writable device of `blockCount` blocks that read as zeroes. */
	open(blockCount: number): Promise<Block>;
	/** False where it knows nothing of what was never written. */
	readonly knowsHoles?: boolean;
	/** A device that starts empty and grows. */
	openGrowable?(): Promise<Block>;
}

async function ram(config: Record<string, string>): Promise<Block> {
	return (await startComponent(blockRam, {config})).client(block);
}

async function file(config: Record<string, string>): Promise<Block> {
	const stateDirectory = temporaryDirectory();
	const stand = await startComponent(blockFile, {stateDirectory, config: {path: 'image', create: 'yes', ...config}});
	return stand.client(block);
}

async function filtered(filter: Component, config: Record<string, string>, backend: Block): Promise<Block> {
	return (await startComponent(filter, {config, sessions: {backend}})).client(block);
}

test.after.always(endProviderProcess);

async function isolated(name: string, config: Record<string, string>): Promise<Block> {
	const provider = await startInProcess(name, block, {
		env: new TestEnvironment({stateDirectory: temporaryDirectory()}),
		config,
	});
	return provider.connect();
}

/** The finished device: everything between the image and its `block` session is behind it. */
async function finished(blockCount: number): Promise<Block> {
	const {device} = await openDevice(temporaryDirectory(), {
		shape: {vbd_leaves: String(blockCount), ft_leaves: '2000'},
	});
	return device;
}

const size = (blockCount: number) => ({size: String(blockCount * blockSize)});

const providers: Provider[] = [
	{name: 'block_ram', open: async blockCount => ram(size(blockCount)), openGrowable: async () => ram({})},
	{
		name: 'block_file',
		knowsHoles: false,
		open: async blockCount => file(size(blockCount)),
		openGrowable: async () => file({}),
	},
	{
		name: 'block_ram in a process of its own',
		open: async blockCount => isolated('block_ram', size(blockCount)),
		openGrowable: async () => isolated('block_ram', {}),
	},
	{
		name: 'block_file in a process of its own',
		knowsHoles: false,
		open: async blockCount => isolated('block_file', {path: 'image', create: 'yes', ...size(blockCount)}),
		openGrowable: async () => isolated('block_file', {path: 'image', create: 'yes'}),
	},
	{
		name: 'block_trace',
		open: async blockCount => filtered(blockTrace, {every: '0'}, await ram(size(blockCount))),
		openGrowable: async () => filtered(blockTrace, {every: '0'}, await ram({})),
	},
	{
		name: 'block_fault that never strikes',
		open: async blockCount => filtered(blockFault, {action: 'error', times: '0'}, await ram(size(blockCount))),
		openGrowable: async () => filtered(blockFault, {action: 'error', times: '0'}, await ram({})),
	},
	{name: 'superblock_control', open: finished},
];

/** What is no address at all never reaches the device. */
function refusalOf(extents: readonly number[]): string {
	return extents.every(value => Number.isSafeInteger(value) && value >= 0) ? 'out_of_range' : 'bad_request';
}

const filled = (blockCount: number, value: number) => Buffer.alloc(blockCount * blockSize, value);

/** The kind of each block, however many answers it takes. */
async function allocationOf(device: Block, first: number, count: number): Promise<number[]> {
	const kinds: number[] = [];
	while (kinds.length < count) {
		const {runs} = await device.allocation({first: first + kinds.length, count: count - kinds.length});
		for (let i = 0; i < runs.length; i += 2) {
			kinds.push(...Array.from({length: runs[i]}, () => runs[i + 1]));
		}
	}

	return kinds;
}

for (const {name, open, openGrowable, knowsHoles = true} of providers) {
	test(`${name}: geometry tells its size and that it is writable`, async t => {
		const {blockCount, writable} = await (await open(10)).geometry({});
		t.is(blockCount, 10);
		t.true(writable);
	});

	test(`${name}: blocks never written read as zeroes`, async t => {
		const data = filled(10, 0xff);
		await (await open(10)).read({extents: [0, 10], data});
		t.deepEqual(data, filled(10, 0));
	});

	test(`${name}: extents are served in the order of the request`, async t => {
		const device = await open(10);
		await device.write({extents: [7, 2, 1, 1], data: Buffer.concat([filled(1, 1), filled(1, 2), filled(1, 3)])});
		const data = filled(4, 0);
		await device.read({extents: [1, 1, 8, 1, 7, 1, 2, 1], data});
		t.deepEqual(data, Buffer.concat([filled(1, 3), filled(1, 2), filled(1, 1), filled(1, 0)]));
	});

	test(`${name}: a write leaves the client's buffer as it is`, async t => {
		const data = filled(2, 0x77);
		await (await open(10)).write({extents: [3, 2], data});
		t.deepEqual(data, filled(2, 0x77));
	});

	test(`${name}: a durable write says that it is, and no other does`, async t => {
		const device = await open(12);
		t.deepEqual(await device.write({extents: [2, 1], data: filled(1, 4)}), {});
		t.deepEqual(await device.write({extents: [3, 2], data: filled(2, 5), durable: true}), {isDurable: true});
		await device.sync({});
		const data = filled(3, 0);
		await device.read({extents: [2, 3], data});
		t.deepEqual(data, Buffer.concat([filled(1, 4), filled(2, 5)]));
		await t.throwsAsync(device.write({extents: [11, 2], data: filled(2, 9), durable: true}), {
			code: 'out_of_range',
		});
	});

	test(`${name}: what does not fit is refused and changes nothing`, async t => {
		const device = await open(10);
		const wrong: Array<[number[], number]> = [
			[[10, 1], 1],
			[[9, 2], 2],
			[[-1, 1], 1],
			[[0.5, 1], 1],
			[[0, -1], 1],
			[[0], 1],
			[[0, 1, 2], 1],
			[[0, 2], 1],
			[[0, 1], 2],
			[[Number.MAX_SAFE_INTEGER, 1], 1],
		];
		for (const [extents, blockCount] of wrong) {
			const code = refusalOf(extents);
			await t.throwsAsync(
				device.write({extents, data: filled(blockCount, 9)}),
				{code},
				`write ${extents.join()}`,
			);
			await t.throwsAsync(device.read({extents, data: filled(blockCount, 9)}), {code}, `read ${extents.join()}`);
		}

		await t.throwsAsync(device.write({extents: [0, 1, 10, 1], data: filled(2, 9)}), {code: 'out_of_range'});
		const data = filled(10, 1);
		await device.read({extents: [0, 10], data});
		t.deepEqual(data, filled(10, 0));
	});

	test(`${name}: a device of fixed size keeps it, or grows and keeps its content`, async t => {
		const device = await open(10);
		await device.write({extents: [9, 1], data: filled(1, 5)});
		const {growable} = await device.geometry({});
		await device.grow({blockCount: 10});
		if (growable) {
			await device.grow({blockCount: 12});
			const data = filled(3, 9);
			await device.read({extents: [9, 3], data});
			t.deepEqual(data, Buffer.concat([filled(1, 5), filled(2, 0)]));
		} else {
			await t.throwsAsync(device.grow({blockCount: 12}), {code: 'no_space'});
			const {blockCount} = await device.geometry({});
			t.is(blockCount, 10);
		}
	});

	test(`${name}: cleared blocks read as zeroes, the others stay`, async t => {
		const device = await open(600);
		await device.write({extents: [0, 600], data: filled(600, 3)});
		await device.clear({extents: [1, 2, 5, 1, 200, 400]});
		await device.sync({});
		const data = filled(7, 9);
		await device.read({extents: [0, 7], data});
		t.deepEqual(data, Buffer.concat([filled(1, 3), filled(2, 0), filled(2, 3), filled(1, 0), filled(1, 3)]));
		const far = filled(401, 9);
		await device.read({extents: [199, 401], data: far});
		t.deepEqual(far, Buffer.concat([filled(1, 3), filled(400, 0)]));
		await device.write({extents: [300, 1], data: filled(1, 4)});
		await device.read({extents: [299, 3], data: far.subarray(0, 3 * blockSize)});
		t.deepEqual(far.subarray(0, 3 * blockSize), Buffer.concat([filled(1, 0), filled(1, 4), filled(1, 0)]));
	});

	test(`${name}: a clearing that does not fit is refused and changes nothing`, async t => {
		const device = await open(10);
		await device.write({extents: [0, 10], data: filled(10, 3)});
		for (const extents of [
			[10, 1],
			[9, 2],
			[-1, 1],
			[0.5, 1],
			[0, -1],
			[0],
			[0, 1, 2],
			[0, 1, 10, 1],
			[Number.MAX_SAFE_INTEGER, 1],
		]) {
			await t.throwsAsync(device.clear({extents}), {code: refusalOf(extents)}, extents.join());
		}

		const data = filled(10, 0);
		await device.read({extents: [0, 10], data});
		t.deepEqual(data, filled(10, 3));
	});

	test(`${name}: what is told of blocks never hides data, and says as much as it can`, async t => {
		const device = await open(600);
		await device.write({extents: [10, 5, 200, 100], data: filled(105, 3)});
		await device.clear({extents: [12, 1, 250, 10]});
		await device.write({extents: [255, 1], data: filled(1, 0)});
		const kinds = await allocationOf(device, 0, 600);
		for (const written of [10, 11, 13, 14, 200, 249, 255, 260, 299]) {
			t.is(kinds[written], allocationKinds.data, `block ${written}`);
		}

		const known = [0, 9, 12, 15, 199, 250, 254, 256, 259, 300, 599].map(index => kinds[index]);
		t.true(
			known.every(kind => kind === allocationKinds.data) || known.every(kind => kind === allocationKinds.hole),
			known.join(),
		);
		t.is(known[0], knowsHoles ? allocationKinds.hole : allocationKinds.data);
		t.deepEqual(await allocationOf(device, 11, 190), kinds.slice(11, 201));
		for (const range of [
			{first: 600, count: 1},
			{first: 599, count: 2},
			{first: 0, count: 601},
			{first: Number.MAX_SAFE_INTEGER, count: 1},
		]) {
			await t.throwsAsync(device.allocation(range), {code: 'out_of_range'}, JSON.stringify(range));
		}
	});

	if (openGrowable) {
		test(`${name}: an empty device grows, never shrinks, and is zero where it grew`, async t => {
			const device = await openGrowable();
			t.like(await device.geometry({}), {blockCount: 0, writable: true, growable: true});
			await device.sync({});
			await t.throwsAsync(device.read({extents: [0, 1], data: filled(1, 0)}), {code: 'out_of_range'});
			await device.grow({blockCount: 5});
			await device.grow({blockCount: 3});
			const data = filled(5, 1);
			await device.read({extents: [0, 5], data});
			t.deepEqual(data, filled(5, 0));
		});
	}

	test(`${name}: behaves like an array of blocks under random requests`, async t => {
		const blockCount = 600;
		const seed = Number(process.env.CBE_TEST_SEED ?? 20_261);
		const random = new SeededRandom(seed);
		const device = await open(blockCount);
		const model = Buffer.alloc(blockCount * blockSize);
		for (let round = 0; round < 300; round++) {
			await randomRequest(random, device, model, blockCount, mismatch =>
				t.fail(`seed ${seed}, round ${round}: ${mismatch}`),
			);
		}

		const data = filled(blockCount, 1);
		await device.read({extents: [0, blockCount], data});
		t.true(data.equals(model), `seed ${seed}`);
	});
}

function randomExtents(random: SeededRandom, blockCount: number): number[] {
	const extents: number[] = [];
	for (let i = random.below(5); i >= 0; i--) {
		const first = random.below(blockCount);
		extents.push(first, 1 + random.below(Math.min(40, blockCount - first)));
	}

	return extents;
}

async function randomRequest(
	random: SeededRandom,
	device: Block,
	model: Buffer,
	blockCount: number,
	onMismatch: (what: string) => void,
): Promise<void> {
	const extents = randomExtents(random, blockCount);
	let total = 0;
	for (let i = 1; i < extents.length; i += 2) {
		total += extents[i];
	}

	if (random.below(8) === 0) {
		await device.clear({extents});
		for (let i = 0; i < extents.length; i += 2) {
			model.fill(0, extents[i] * blockSize, (extents[i] + extents[i + 1]) * blockSize);
		}

		return;
	}

	const writing = random.below(2) === 0;
	const data = filled(total, 0);
	for (let i = 0; writing && i < total; i++) {
		data.fill(random.below(256), i * blockSize, (i + 1) * blockSize);
	}

	await (writing ? device.write({extents, data}) : device.read({extents, data}));
	let offset = 0;
	for (let i = 0; i < extents.length; i += 2) {
		const part = data.subarray(offset, offset + extents[i + 1] * blockSize);
		const place = model.subarray(extents[i] * blockSize, (extents[i] + extents[i + 1]) * blockSize);
		if (writing) {
			place.set(part);
		} else if (!part.equals(place)) {
			onMismatch(`extent ${extents[i]}+${extents[i + 1]}`);
		}

		offset += part.length;
	}

	if (random.below(10) === 0) {
		await device.sync({});
	}
}
