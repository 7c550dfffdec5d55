import test from 'ava';
import type {Environment} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {DeviceUsage} from './device-usage.js';
import type {Commit} from './commit.js';

/** A pool of 1000 blocks, a clock and a number of checkpoints that the test sets. */
function stand(setAside = false) {
	const state = {now: 0, durableCount: 0, heldCount: 0, allocatableCount: 1000, countings: 0, log: [] as string[]};
	const usage = async () => {
		state.countings++;
		return {leafCount: 1000, allocatableCount: state.allocatableCount, heldCount: state.heldCount};
	};

	const env = {now: () => state.now, log: (text: string) => void state.log.push(text)} as unknown as Environment;
	const snapshot = {leafCount: 6400, maxLevel: 3, keep: true, root: {generation: 1}};
	const superblock = {
		snapshots: [snapshot],
		currentSnapshot: 0,
		degree: 64,
		freeTree: {leafCount: 1000},
		features: setAside ? ['emptied_leaves'] : [],
	};
	const commit = {
		superblock,
		get durableCount() {
			return state.durableCount;
		},
	} as unknown as Commit;
	const book = async () => ({});
	const device = new DeviceUsage(
		{
			free_tree: {usage} as unknown as Client<typeof freeTree>,
			virtual_block_device: {book} as unknown as Client<typeof virtualBlockDevice>,
		},
		commit,
		env,
	);
	/** The pool as it is at a later time, after another checkpoint. */
	const at = async (seconds: number, heldCount: number) => {
		Object.assign(state, {
			now: seconds * 1000,
			durableCount: state.durableCount + 1,
			heldCount,
			allocatableCount: 1000 - heldCount,
		});
		return device.pool();
	};

	return {state, device, at, superblock};
}

async function settle(): Promise<void> {
	await new Promise(resolve => {
		setImmediate(resolve);
	});
}

test('the pool is counted once for each checkpoint, whoever asks', async t => {
	const {state, device, at} = stand();
	await Promise.all([device.pool(), device.pool()]);
	await device.pool();
	t.is(state.countings, 1);
	t.is((await at(1, 100)).heldCount, 100);
	t.is(state.countings, 2);
});

test('how long it lasts follows from how fast snapshots take hold of it, and grows while nothing is written', async t => {
	const {state, device, at} = stand();
	await at(0, 0);
	t.is(device.secondsLeft, undefined);
	await at(10, 100);
	t.is(device.secondsLeft, 90);
	state.now = 20_000;
	t.is(device.secondsLeft, 180);
	state.now = 700_000;
	t.is(device.secondsLeft, undefined);
	await at(710, 0);
	t.is(device.secondsLeft, undefined, 'it filled up again');
});

test('a pool that is only being recycled raises no alarm and has no end', async t => {
	const {state, device, at} = stand(true);
	for (let second = 0; second < 60; second++) {
		state.allocatableCount = second % 2 === 0 ? 3 : 990;
		Object.assign(state, {now: second * 1000, durableCount: state.durableCount + 1});
		await device.pool();
		device.noteShortage();
		t.is(device.secondsLeft, undefined);
	}

	await at(60, 0);
	t.deepEqual(state.log, []);
});

test('one warning when snapshots hold nearly all of it, and another only after it has recovered', async t => {
	const {state, at} = stand();
	for (const [second, count] of [500, 901, 950, 890, 910].entries()) {
		await at(second, count);
	}

	t.is(state.log.length, 1);
	t.regex(state.log[0], /99 of 1000 are left for data, snapshots hold 901.*runtime extend ft/);
	await at(10, 800);
	await at(11, 990);
	t.is(state.log.length, 2);
});

test('what is set aside for trims is not left for data', async t => {
	const {state, at} = stand(true);
	await at(0, 790);
	t.deepEqual(state.log, []);
	await at(1, 810);
	// A hundred lowest blocks, and those above them.
	t.regex(state.log[0], /87 of 1000 are left for data/);
});

test('the warning comes while it is written, though nothing is secured', async t => {
	const {state, device} = stand();
	state.heldCount = 930;
	for (let block = 0; block < 100; block++) {
		state.now += 20;
		device.noteWritten(1);
		await settle();
	}

	t.is(state.log.length, 1);
	t.true(state.countings < 10);
});

test('without a snapshot nothing is watched while it is written', async t => {
	const {state, device, superblock} = stand();
	superblock.snapshots[0].keep = false;
	for (let block = 0; block < 1000; block++) {
		state.now += 20;
		device.noteWritten(1);
	}

	await settle();
	t.is(state.countings, 0);
});

test('a shortage is looked at now, whenever the watch would', async t => {
	const {state, device} = stand();
	state.heldCount = 997;
	device.noteShortage();
	device.noteShortage();
	await device.pool();
	t.is(state.countings, 1);
	t.is(state.log.length, 1);
});

test('the watch counts now and then, not after every checkpoint', async t => {
	const {state, device} = stand();
	for (let tick = 0; tick < 600; tick++) {
		state.now = tick * 100;
		state.durableCount++;
		device.noteSecured();
		await settle();
	}

	t.is(state.countings, 59);
});
