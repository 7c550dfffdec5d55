import test from 'ava';
import type {Environment} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {freeTree} from '../sessions/free-tree.js';
import {DeviceUsage} from './device-usage.js';
import type {Securing} from './securing.js';

/** A pool of 1000 blocks, a clock and a number of securings that the test sets. */
function stand() {
	const state = {now: 0, durableCount: 0, allocatableCount: 1000, countings: 0, log: [] as string[]};
	const usage = async () => {
		state.countings++;
		return {leafCount: 1000, allocatableCount: state.allocatableCount, heldCount: 1000 - state.allocatableCount};
	};

	const env = {now: () => state.now, log: (text: string) => void state.log.push(text)} as unknown as Environment;
	const securing = {
		get durableCount() {
			return state.durableCount;
		},
	} as Securing;
	const device = new DeviceUsage({free_tree: {usage} as unknown as Client<typeof freeTree>}, securing, env);
	/** The pool as it is at a later time, after another securing. */
	const at = async (seconds: number, allocatableCount: number) => {
		Object.assign(state, {now: seconds * 1000, durableCount: state.durableCount + 1, allocatableCount});
		return device.pool();
	};

	return {state, device, at};
}

test('the pool is counted once for each securing, whoever asks', async t => {
	const {state, device, at} = stand();
	await Promise.all([device.pool(), device.pool()]);
	await device.pool();
	t.is(state.countings, 1);
	t.is((await at(1, 900)).allocatableCount, 900);
	t.is(state.countings, 2);
});

test('how long it lasts follows from how fast it got emptier', async t => {
	const {device, at} = stand();
	await at(0, 1000);
	t.is(device.secondsLeft, undefined);
	await at(10, 900);
	t.is(device.secondsLeft, 90);
	await at(20, 1000);
	t.is(device.secondsLeft, undefined, 'it filled up again');
});

test('one warning when it runs low, and another only after it has recovered', async t => {
	const {state, at} = stand();
	for (const [second, count] of [500, 99, 50, 110, 90].entries()) {
		await at(second, count);
	}

	t.is(state.log.length, 1);
	t.regex(state.log[0], /99 of 1000 are left, snapshots hold 901.*runtime extend ft/);
	await at(10, 200);
	await at(11, 10);
	t.is(state.log.length, 2);
});

test('a shortage is looked at now, whenever the watch would', async t => {
	const {state, device} = stand();
	state.allocatableCount = 3;
	device.noteShortage();
	device.noteShortage();
	await device.pool();
	t.is(state.countings, 1);
	t.is(state.log.length, 1);
});

test('the watch counts now and then, not after every securing', async t => {
	const {state, device} = stand();
	for (let tick = 0; tick < 600; tick++) {
		state.now = tick * 100;
		state.durableCount++;
		device.noteSecured();
		await new Promise(resolve => {
			setImmediate(resolve);
		});
	}

	t.is(state.countings, 59);
});
