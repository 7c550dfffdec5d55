import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {TestEnvironment} from '../../test/support/test-environment.js';
import {BackgroundOperation, type Work} from './background-operation.js';

/** Time passes by sleeping, and by steps that take some. */
class SleeplessEnvironment extends TestEnvironment {
	readonly slept: number[] = [];

	override async sleep(milliseconds: number) {
		this.slept.push(milliseconds);
		this.advance(milliseconds);
		// Whoever else waits gets its turn.
		await new Promise<void>(resolve => {
			setImmediate(resolve);
		});
	}
}

const stepMs = 10;

/** Steps of 256 units, each of which takes `stepMs`. */
class SteppedWork implements Work {
	readonly unitBytes = 4096;
	readonly secureIntervalMs = 1000;
	done = 0;
	stepCount = 0;
	isFinished = false;

	constructor(
		readonly total: number,
		readonly env: TestEnvironment,
		public onStep: () => void = () => undefined,
	) {}

	async step() {
		this.stepCount++;
		this.env.advance(stepMs);
		this.onStep();
		this.done = Math.min(this.total, this.done + 256);
		return this.done < this.total;
	}

	async finish() {
		this.isFinished = true;
	}
}

function stand({rateLimit, onSecure}: {rateLimit?: number; onSecure?: () => void} = {}) {
	const env = new SleeplessEnvironment();
	let activity = 0;
	let securedCount = 0;
	let madeRoomCount = 0;
	const operation = new BackgroundOperation({
		name: 'the work',
		env,
		rateLimit,
		isResumed: true,
		activity: () => activity,
		async secure() {
			onSecure?.();
			securedCount++;
		},
		async makeRoom() {
			madeRoomCount++;
		},
	});
	return {
		env,
		operation,
		request: () => void activity++,
		securedCount: () => securedCount,
		madeRoomCount: () => madeRoomCount,
	};
}

async function until(condition: () => boolean): Promise<void> {
	while (!condition()) {
		await new Promise<void>(resolve => {
			setImmediate(resolve);
		});
	}
}

test('the clients have the device for several times as long as a step took', async t => {
	const {env, operation, request} = stand();
	operation.start(new SteppedWork(512, env, request));
	await until(() => !operation.isRunning);
	t.deepEqual(env.slept, [4 * stepMs, 4 * stepMs]);
});

test('without clients it does not wait', async t => {
	const {env, operation} = stand();
	const work = new SteppedWork(1024, env);
	operation.start(work);
	await until(() => !operation.isRunning);
	t.deepEqual(env.slept, [0, 0, 0, 0]);
	t.true(work.isFinished);
	t.is(operation.status.lastResult, 'success');
});

test('a rate limit holds over steps and pauses together', async t => {
	const {env, operation} = stand({rateLimit: 10 * 2 ** 20});
	operation.start(new SteppedWork(2560, env));
	await until(() => !operation.isRunning);
	t.is(env.now(), 1000, '10 MiB at 10 MiB/s');
});

test('a paused operation halts after its step and goes on when told', async t => {
	const {env, operation} = stand();
	const work = new SteppedWork(1024, env, () => {
		if (work.stepCount === 2) {
			operation.pause();
		}
	});
	operation.start(work);
	await until(() => env.now() > 5000);
	t.is(work.stepCount, 2);
	t.is(operation.status.phase, 'paused');
	operation.resume();
	t.is(operation.status.phase, 'in-progress');
	t.is(operation.status.bytesPerSecond, 0, 'a rate over the pause would say nothing');
	await until(() => !operation.isRunning);
	t.is(work.stepCount, 4);
});

test('a pause while nothing goes on does not halt what begins later', async t => {
	const {env, operation} = stand();
	operation.pause();
	operation.start(new SteppedWork(256, env));
	await until(() => !operation.isRunning);
	t.is(operation.status.lastResult, 'success');
});

test('progress, rate and time left are those since it was started', async t => {
	const {env, operation} = stand();
	const work = new SteppedWork(2560, env, () => {
		operation.pause();
	});
	operation.start(work);
	await until(() => env.slept.length > 0);
	const {done, total, bytesPerSecond, secondsLeft} = operation.status;
	t.deepEqual({done, total}, {done: 256, total: 2560});
	t.is(bytesPerSecond, Math.round((256 * 4096) / (env.now() / 1000)));
	t.is(secondsLeft, Math.ceil((2560 - 256) / (256 / env.now()) / 1000));
	operation.resume();
	await operation.stop();
});

test('a step without room is repeated after a checkpoint, and then waits for spare blocks, said once', async t => {
	const {env, operation, securedCount} = stand();
	let isFull = true;
	const work = new SteppedWork(256, env, () => {
		if (isFull) {
			throw new SessionError('no_space', 'the pool is empty');
		}
	});
	operation.start(work);
	await until(() => env.now() > 10_000);
	t.is(operation.status.phase, 'in-progress');
	t.true(securedCount() >= 20);
	t.deepEqual(
		env.logged.map(({text}) => text),
		[
			'the work waits for spare blocks: the pool is empty; discard a snapshot, or add some with "runtime extend ft SIZE"',
		],
	);
	t.regex(operation.status.waitsFor ?? '', /^spare blocks: the pool is empty/);
	isFull = false;
	await until(() => !operation.isRunning);
	t.is(operation.status.lastResult, 'success');
	t.is(operation.status.waitsFor, undefined);
});

test('a step for which the host has no room is tried again after what nobody needs was given back, and then waits', async t => {
	const {env, operation, madeRoomCount} = stand();
	let isFull = true;
	operation.start(
		new SteppedWork(256, env, () => {
			if (isFull) {
				throw new SessionError('no_space', 'the disk is full', {onMedium: true});
			}
		}),
	);
	await until(() => env.now() > 10_000);
	t.true(madeRoomCount() >= 2);
	t.regex(operation.status.waitsFor ?? '', /^room on the host: the disk is full; make room/);
	t.is(env.logged.length, 1);
	isFull = false;
	await until(() => !operation.isRunning);
	t.is(operation.status.lastResult, 'success');
});

test('a failure ends it, and the log says why', async t => {
	const {env, operation} = stand();
	operation.start(
		new SteppedWork(256, env, () => {
			throw new SessionError('device_failed', 'the medium is gone');
		}),
	);
	await until(() => !operation.isRunning);
	t.is(operation.status.lastResult, 'failed');
	t.regex(env.logged[0].text, /the work stopped: the medium is gone; it is resumed when the device is opened again/);
});

test('where the device stops it ends after the running step and counts as neither done nor failed', async t => {
	const {env, operation} = stand();
	const work = new SteppedWork(1024, env);
	operation.start(work);
	await operation.stop();
	t.is(work.stepCount, 1);
	t.false(work.isFinished);
	t.is(operation.status.lastResult, 'none');
	t.false(operation.isRunning);
});

test('a checkpoint that finds the medium full is repeated until there is room, also the last one', async t => {
	let isFull = false;
	const {env, operation} = stand({
		onSecure() {
			if (isFull) {
				throw new SessionError('no_space', 'the host is full');
			}
		},
	});
	const work = new SteppedWork(256 * 200, env, () => {
		isFull = true;
	});
	operation.start(work);
	await until(() => env.now() > 60_000);
	t.is(operation.status.phase, 'in-progress');
	t.is(work.stepCount, 100, 'no step before the state is secured');
	t.deepEqual(
		env.logged.map(({text}) => text),
		['the work waits for room on the host: the host is full; make room there, or clear what is not needed (TRIM)'],
	);
	work.onStep = () => undefined;
	isFull = false;
	await until(() => work.stepCount === 199);
	isFull = true;
	await until(() => work.stepCount === 200 && env.logged.length === 2);
	t.false(work.isFinished);
	isFull = false;
	await until(() => !operation.isRunning);
	t.true(work.isFinished);
	t.is(operation.status.lastResult, 'success');
});

test('an operation that waits for room can be stopped', async t => {
	const {env, operation} = stand({
		onSecure() {
			throw new SessionError('no_space', 'the host is full');
		},
	});
	const work = new SteppedWork(256, env);
	operation.start(work);
	await until(() => env.logged.length === 1);
	await operation.stop();
	t.false(operation.isRunning);
	t.false(work.isFinished);
	t.is(operation.status.lastResult, 'none');
});
