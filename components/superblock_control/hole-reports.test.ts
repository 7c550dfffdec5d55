/** What the finished device says of blocks without reading them, beside writes under way and of snapshots. */
import {setImmediate} from 'node:timers/promises';
import test from 'ava';
import {filled, openDevice} from '../../test/support/device-stand.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {SeededRandom} from '../../test/support/seeded-random.js';
import {allocationKinds} from '../sessions/allocation.js';
import {blockSize} from '../sessions/block.js';

const blockCount = 1024;
const {data, hole} = allocationKinds;

type Ask = (range: {first: number; count: number}) => Promise<{runs: number[]}>;

/** The kind of each block, however many answers it takes. */
async function kindsOf(ask: Ask): Promise<number[]> {
	const kinds: number[] = [];
	while (kinds.length < blockCount) {
		const {runs} = await ask({first: kinds.length, count: blockCount - kinds.length});
		for (let i = 0; i < runs.length; i += 2) {
			kinds.push(...Array.from({length: runs[i]}, () => runs[i + 1]));
		}
	}

	return kinds;
}

test('holes are what was never written or is cleared, also after it was opened anew', async t => {
	const stateDirectory = temporaryDirectory();
	let opened = await openDevice(stateDirectory);
	t.deepEqual(await opened.device.allocation({first: 0, count: blockCount}), {runs: [blockCount, hole]});
	await opened.device.write({extents: [70, 2, 1000, 1], data: filled(3, 1)});
	await opened.device.clear({extents: [71, 1]});
	const expected = {runs: [70, hole, 1, data, 929, hole, 1, data, 23, hole]};
	t.deepEqual(await opened.device.allocation({first: 0, count: blockCount}), expected);
	t.deepEqual(await opened.device.allocation({first: 999, count: 3}), {runs: [1, hole, 1, data, 1, hole]});
	await opened.device.sync({});
	await opened.stop();
	opened = await openDevice(stateDirectory);
	t.deepEqual(await opened.device.allocation({first: 0, count: blockCount}), expected);
	await t.throwsAsync(opened.device.allocation({first: blockCount, count: 1}), {code: 'out_of_range'});
	await opened.control.lock({});
	await t.throwsAsync(opened.device.allocation({first: 0, count: 1}), {code: 'locked'});
	await opened.stop();
	t.deepEqual(opened.bugs, []);
});

test('a snapshot keeps its holes and its data, whatever is written or cleared afterwards', async t => {
	const {device, control, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [5, 3], data: filled(3, 1)});
	const {generation} = await control.create_snapshot({});
	await device.clear({extents: [6, 1]});
	await device.write({extents: [100, 1], data: filled(1, 2)});
	await device.sync({});
	const ofSnapshot: Ask = async range => control.snapshot_allocation({generation, ...range});
	t.deepEqual(await ofSnapshot({first: 0, count: blockCount}), {runs: [5, hole, 3, data, blockCount - 8, hole]});
	t.deepEqual(await device.allocation({first: 0, count: 200}), {
		runs: [5, hole, 1, data, 1, hole, 1, data, 92, hole, 1, data, 99, hole],
	});
	await t.throwsAsync(ofSnapshot({first: 1, count: blockCount}), {code: 'out_of_range'});
	await t.throwsAsync(control.snapshot_allocation({generation: 999, first: 0, count: 1}), {code: 'unknown_snapshot'});
	await stop();
});

test('beside writes, clearings, flushes and snapshots under way, data that was acknowledged is never told as a hole', async t => {
	const seed = Number(process.env.CBE_TEST_SEED ?? 4);
	const random = new SeededRandom(seed);
	const {device, control, stop, bugs} = await openDevice(temporaryDirectory());
	/** Acknowledged content; undefined where a request is under way. */
	const written: Array<boolean | undefined> = Array.from({length: blockCount}, () => false);
	/** How often each block was cleared or began to be. */
	const clearCounts = Array.from({length: blockCount}, () => 0);
	let isOver = false;

	async function change(): Promise<void> {
		while (!isOver) {
			// Everything here happens on one thread, and others need it, too.
			await setImmediate();
			const first = random.below(blockCount);
			const count = 1 + random.below(Math.min(100, blockCount - first));
			if (written.slice(first, first + count).includes(undefined)) {
				await device.sync({});
				continue;
			}

			const isWrite = random.below(3) > 0;
			written.fill(undefined, first, first + count);
			for (let i = first; i < first + count; i++) {
				clearCounts[i] += isWrite ? 0 : 1;
			}

			await (isWrite
				? device.write({extents: [first, count], data: filled(count, 1 + random.below(200))})
				: device.clear({extents: [first, count]}));
			written.fill(isWrite, first, first + count);
		}
	}

	const changes = [change(), change(), change()];
	for (let round = 0; round < 60; round++) {
		const before = written.map((isWritten, i) => (isWritten === true ? clearCounts[i] : -1));
		const kinds = await kindsOf(device.allocation);
		for (const [index, kind] of kinds.entries()) {
			if (before[index] === clearCounts[index] && kind !== data) {
				t.fail(`seed ${seed}, round ${round}: block ${index} holds data and was told as a hole`);
			}
		}

		if (round % 20 === 19) {
			const {generation} = await control.create_snapshot({});
			const ofSnapshot = await kindsOf(async range => control.snapshot_allocation({generation, ...range}));
			const content = filled(blockCount, 9);
			await control.read_snapshot({generation, extents: [0, blockCount], data: content});
			for (const [index, kind] of ofSnapshot.entries()) {
				const block = content.subarray(index * blockSize, (index + 1) * blockSize);
				t.is(
					kind,
					block.every(byte => byte === 0) ? hole : data,
					`seed ${seed}, snapshot ${generation}, block ${index}`,
				);
			}

			await control.discard_snapshot({generation});
		}
	}

	isOver = true;
	await Promise.all(changes);
	t.deepEqual(
		(await kindsOf(device.allocation)).map(kind => kind === data),
		written.map(Boolean),
		`seed ${seed}`,
	);
	await stop();
	t.deepEqual(bugs, []);
});
