import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {filled, openDevice as openStand} from '../../test/support/device-stand.js';
import {blockSize} from '../sessions/block.js';

const blockCount = 1024;

/** A device of 4 MiB with a pool for about a third of it. */
async function openDevice(stateDirectory: string, discard: 'yes' | 'no' = 'yes') {
	return openStand(stateDirectory, {discard, shape: {ft_leaves: '400', flush_log_blocks: '16'}});
}

/** The same in the original's form, whose leaves cannot be emptied. */
async function openOriginal(stateDirectory: string) {
	return openStand(stateDirectory, {shape: {ft_leaves: '400', cipher: 'aes-256-cbc-essiv', flush_log_blocks: '0'}});
}

test('cleared blocks read as zeroes, now and after opening again; a snapshot keeps them', async t => {
	const stateDirectory = temporaryDirectory();
	const first = await openDevice(stateDirectory);
	await first.device.write({extents: [0, 100], data: filled(100, 1)});
	const {generation} = await first.control.create_snapshot({});
	await first.device.clear({extents: [10, 20, 50, 5, 900, 100]});
	await first.device.write({extents: [12, 1], data: filled(1, 2)});
	await first.device.sync({});
	const expected = filled(100, 1)
		.fill(0, 10 * blockSize, 30 * blockSize)
		.fill(0, 50 * blockSize, 55 * blockSize)
		.fill(2, 12 * blockSize, 13 * blockSize);
	const data = filled(100, 9);
	await first.device.read({extents: [0, 100], data});
	t.true(data.equals(expected));
	await first.stop();

	const second = await openDevice(stateDirectory);
	await second.device.read({extents: [0, 100], data});
	t.true(data.equals(expected));
	await second.control.read_snapshot({generation, extents: [0, 100], data});
	t.true(data.equals(filled(100, 1)));
	await second.stop();
	t.deepEqual([...first.bugs, ...second.bugs], []);
});

test('a range larger than the pool is cleared at once, and what does not fit the device is refused', async t => {
	const {device, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, blockCount], data: filled(blockCount, 1)});
	await device.clear({extents: [0, blockCount]});
	const data = filled(blockCount, 9);
	await device.read({extents: [0, blockCount], data});
	t.true(data.equals(filled(blockCount, 0)));
	await t.throwsAsync(device.clear({extents: [blockCount - 1, 2]}), {code: 'out_of_range'});
	await stop();
});

test('a pool that an extension by a level has left small still takes data, and rekeys', async t => {
	const {device, control, stop, bugs} = await openStand(temporaryDirectory(), {
		shape: {
			vbd_leaves: '7',
			vbd_degree: '8',
			vbd_max_level: '1',
			ft_leaves: '4',
			ft_degree: '4',
			ft_max_level: '1',
			flush_log_blocks: '0',
		},
	});
	const ended = async () => {
		for (let phases = ['']; phases.some(phase => phase !== 'idle');) {
			await sleep(10);
			phases = Object.values(await control.operations({})).map(({phase}) => phase);
		}
	};

	t.timeout(60_000);
	await device.write({extents: [0, 7], data: filled(7, 1)});
	await control.extend({tree: 'vbd', blockCount: 20});
	await ended();
	const {blockCount: grown} = await device.geometry({});
	t.true(grown > 8, String(grown));
	await device.write({extents: [0, grown], data: filled(grown, 2)});
	await device.write({extents: [0, grown], data: filled(grown, 3)});
	await control.rekey({});
	await ended();
	const data = filled(grown, 9);
	await device.read({extents: [0, grown], data});
	t.true(data.equals(filled(grown, 3)));
	await device.clear({extents: [0, grown]});
	await stop();
	t.deepEqual(bugs, []);
});

test("in the original's form a range with more content than the pool has spare blocks is cleared in parts", async t => {
	const {device, stop, bugs} = await openStand(temporaryDirectory(), {
		shape: {ft_leaves: '20', cipher: 'aes-256-cbc-essiv', flush_log_blocks: '0'},
	});
	await device.write({extents: [100, 300], data: filled(300, 1)});
	await device.sync({});
	await device.clear({extents: [0, 390]});
	const data = filled(400, 9);
	await device.read({extents: [0, 400], data});
	t.true(data.equals(Buffer.concat([filled(390, 0), filled(10, 1)])));
	await stop();
	t.deepEqual(bugs, []);
});

test('a pool that snapshots have filled takes no more data, but every trim, and both bring nothing of the snapshot away', async t => {
	const {device, control, stop, bugs} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, blockCount], data: filled(blockCount, 1)});
	const {generation} = await control.create_snapshot({});
	const write = async (vba: number) => device.write({extents: [vba, 16], data: filled(16, 2)});
	let full = 0;
	await t.throwsAsync(
		async () => {
			for (; full < blockCount; full += 16) {
				await write(full);
			}
		},
		{code: 'no_space'},
	);
	t.true(full >= 300, `${full} blocks were written`);
	await device.clear({extents: [0, blockCount]});
	await device.sync({});
	const data = filled(blockCount, 9);
	await device.read({extents: [0, blockCount], data});
	t.true(data.equals(filled(blockCount, 0)));
	await control.read_snapshot({generation, extents: [0, blockCount], data});
	t.true(data.equals(filled(blockCount, 1)));
	await control.discard_snapshot({generation});
	await write(500);
	await stop();
	t.deepEqual(bugs, []);
});

test('a trim of all that a snapshot holds leaves the pool nearly as it was; what is written there later does not', async t => {
	const {device, control, stop, bugs} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, 600], data: filled(600, 1)});
	const {generation} = await control.create_snapshot({});
	await device.clear({extents: [0, blockCount]});
	await device.sync({});
	t.true((await control.status({})).poolHeldCount < 30);
	await device.write({extents: [10, 50], data: filled(50, 2)});
	await device.sync({});
	const {poolHeldCount} = await control.status({});
	t.true(poolHeldCount >= 50 && poolHeldCount < 80, String(poolHeldCount));
	const data = filled(600, 9);
	await control.read_snapshot({generation, extents: [0, 600], data});
	t.true(data.equals(filled(600, 1)));
	await control.revert_snapshot({generation});
	await device.read({extents: [0, 600], data});
	t.true(data.equals(filled(600, 1)));
	await stop();
	t.deepEqual(bugs, []);
});

test("in the original's form clearing has no space where snapshots hold the pool, reads go on, and a discarded snapshot brings it back", async t => {
	const {device, control, stop} = await openOriginal(temporaryDirectory());
	await device.write({extents: [0, blockCount], data: filled(blockCount, 1)});
	const {generation} = await control.create_snapshot({});
	await t.throwsAsync(device.clear({extents: [0, blockCount]}), {code: 'no_space'});
	const data = filled(1, 9);
	await device.read({extents: [blockCount - 1, 1], data});
	t.deepEqual(data, filled(1, 1));
	await control.discard_snapshot({generation});
	await device.clear({extents: [0, blockCount]});
	await device.read({extents: [blockCount - 1, 1], data});
	t.deepEqual(data, filled(1, 0));
	await stop();
});

test('the status counts the pool: spare blocks, and what only snapshots hold', async t => {
	const {device, control, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, 50], data: filled(50, 1)});
	const {generation} = await control.create_snapshot({});
	await device.write({extents: [0, 50], data: filled(50, 2)});
	await device.sync({});
	const held = await control.status({});
	t.is(held.poolLeafCount, 400);
	t.true(held.poolHeldCount >= 50 && held.poolHeldCount < 60, String(held.poolHeldCount));
	await control.discard_snapshot({generation});
	const after = await control.status({});
	t.is(after.poolHeldCount, 0);
	t.true(after.poolAllocatableCount > held.poolAllocatableCount);
	await stop();
});

for (const [form, open] of [
	["today's form", openDevice],
	["the original's form", openOriginal],
] as const) {
	test(`what was cleared and came back by reverting is not held for the snapshot any more, in ${form}`, async t => {
		const {device, control, stop, bugs} = await open(temporaryDirectory());
		await device.write({extents: [0, 300], data: filled(300, 1)});
		const {generation} = await control.create_snapshot({});
		for (let round = 0; round < 3; round++) {
			await device.clear({extents: [0, 300]});
			await device.sync({});
			await control.revert_snapshot({generation});
			await device.sync({});
			const {poolHeldCount} = await control.status({});
			t.true(poolHeldCount < 30, String(poolHeldCount));
		}

		const data = filled(300, 9);
		await device.read({extents: [0, 300], data});
		t.true(data.equals(filled(300, 1)));
		await stop();
		t.deepEqual(bugs, []);
	});
}

/** Blocks that the host stores of the image. */
function storedBlockCount(stateDirectory: string): number {
	return (fs.statSync(join(stateDirectory, 'image')).blocks * 512) / blockSize;
}

/**
 * What the trees, the superblocks, the flush log and a few new entries take, and the quarter of the pool that keeps its
 * room.
 */
const overhead = 80 + 100;

test('cleared blocks go back to the host once they are secured, those of the pool, too', async t => {
	const stateDirectory = temporaryDirectory();
	const {device, stop, bugs} = await openDevice(stateDirectory);
	await device.write({extents: [0, blockCount], data: filled(blockCount, 1)});
	await device.sync({});
	await device.write({extents: [0, 300], data: filled(300, 2)});
	await device.sync({});
	t.true(storedBlockCount(stateDirectory) > blockCount + 300);
	await device.clear({extents: [100, blockCount - 100]});
	await device.sync({});
	await stop();
	t.true(storedBlockCount(stateDirectory) < 100 + overhead, `${storedBlockCount(stateDirectory)} blocks are stored`);

	const again = await openDevice(stateDirectory);
	const data = filled(101, 9);
	await again.device.read({extents: [0, 101], data});
	t.true(data.equals(Buffer.concat([filled(100, 2), filled(1, 0)])));
	await again.stop();
	t.deepEqual([...bugs, ...again.bugs], []);
});

test('what snapshots hold keeps its room until they are discarded', async t => {
	const stateDirectory = temporaryDirectory();
	const {device, control, stop, bugs} = await openDevice(stateDirectory);
	await device.write({extents: [0, 200], data: filled(200, 1)});
	const {generation} = await control.create_snapshot({});
	await device.clear({extents: [0, 200]});
	await device.sync({});
	const data = filled(200, 9);
	await control.read_snapshot({generation, extents: [0, 200], data});
	t.true(data.equals(filled(200, 1)));
	await device.write({extents: [50, 1], data: filled(1, 3)});
	await control.discard_snapshot({generation});
	await stop();
	t.true(storedBlockCount(stateDirectory) < overhead, `${storedBlockCount(stateDirectory)} blocks are stored`);
	t.deepEqual(bugs, []);
});

test('discard="no": cleared blocks keep their room', async t => {
	const stateDirectory = temporaryDirectory();
	const {device, stop} = await openDevice(stateDirectory, 'no');
	await device.write({extents: [0, blockCount], data: filled(blockCount, 1)});
	await device.sync({});
	await device.clear({extents: [0, blockCount]});
	await stop();
	t.true(storedBlockCount(stateDirectory) >= blockCount);
});

test('writes, clearings and blocks given back go on side by side', async t => {
	const stateDirectory = temporaryDirectory();
	const {device, stop, bugs} = await openDevice(stateDirectory);
	const content = filled(blockCount, 0);
	for (let round = 1; round <= 30; round++) {
		await Promise.all(
			Array.from({length: 8}, async (_, i) => {
				const first = i * 128 + ((round * 7) % 64);
				if ((i + round) % 3 === 0) {
					await device.clear({extents: [first, 50]});
					content.fill(0, first * blockSize, (first + 50) * blockSize);
				} else {
					await device.write({extents: [first, 50], data: filled(50, round)});
					content.fill(round, first * blockSize, (first + 50) * blockSize);
				}

				await device.sync({});
			}),
		);
	}

	const data = filled(blockCount, 9);
	await device.read({extents: [0, blockCount], data});
	t.true(data.equals(content));
	await stop();
	const again = await openDevice(stateDirectory);
	await again.device.read({extents: [0, blockCount], data});
	t.true(data.equals(content));
	await again.stop();
	t.deepEqual([...bugs, ...again.bugs], []);
});

test('the status counts what was written, and what snapshots share of it', async t => {
	const {device, control, stop, bugs} = await openDevice(temporaryDirectory());
	const counts = async () => {
		const {usedBlockCount, sharedBlockCount} = await control.status({});
		return {usedBlockCount, sharedBlockCount};
	};

	t.deepEqual(await counts(), {usedBlockCount: 0, sharedBlockCount: 0});
	await device.write({extents: [0, 100, 1000, 24], data: filled(124, 1)});
	const {generation} = await control.create_snapshot({});
	await device.write({extents: [10, 20, 500, 5], data: filled(25, 2)});
	await device.clear({extents: [90, 10]});
	await device.sync({});
	while ((await counts()).usedBlockCount !== 119) {
		// A count is not repeated at once.
	}

	t.deepEqual(await counts(), {usedBlockCount: 119, sharedBlockCount: 94});
	await control.discard_snapshot({generation});
	while ((await counts()).sharedBlockCount !== 0) {
		// The same.
	}

	t.is((await counts()).usedBlockCount, 119);
	await stop();
	t.deepEqual(bugs, []);
});
