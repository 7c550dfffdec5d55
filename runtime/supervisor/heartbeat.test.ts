import test from 'ava';
import {Heartbeat} from './heartbeat.js';
import {unservedMs} from './thread-state.js';

const rateMs = 20;

async function wait(milliseconds: number): Promise<void> {
	await new Promise<void>(resolve => {
		setTimeout(resolve, milliseconds);
	});
}

function stand(isWaiting: () => boolean, queuedMs: () => number = () => 0, queuer = 1) {
	const state = {kills: [] as string[], said: [] as string[], posts: 0};
	const host = {
		tid: 1,
		post() {
			state.posts++;
		},
		kill(reason: string) {
			state.kills.push(reason);
		},
	};
	return {
		state,
		heartbeat: new Heartbeat(host, text => state.said.push(text), {
			now: () => performance.now(),
			isWaitingForDevice: isWaiting,
			threadTimes: () => new Map([[queuer, {ranMs: 0, queuedMs: queuedMs(), isRunnable: false}]]),
		}),
	};
}

test('a host that does not answer is ended', async t => {
	const {state, heartbeat} = stand(() => false);
	heartbeat.every(rateMs);
	while (state.kills.length === 0) {
		await wait(rateMs);
	}

	heartbeat.stop();
	t.regex(state.kills[0], /missed its heartbeat 3 times, 20 ms apart/);
	t.is(state.posts, 3);
	t.deepEqual(state.said, []);
});

test('one that waits for a device is not, as long as it does; it is said once, and when it is over', async t => {
	let isWaiting = true;
	const {state, heartbeat} = stand(() => isWaiting);
	heartbeat.every(rateMs);
	while (state.said.length === 0) {
		await wait(rateMs);
	}

	await wait(5 * rateMs);
	t.deepEqual(state.kills, []);
	t.is(state.said.length, 1);
	heartbeat.beat();
	t.is(state.said.length, 2);
	isWaiting = false;
	while (state.kills.length === 0) {
		await wait(rateMs);
	}

	heartbeat.stop();
	t.is(state.said.length, 2);
});

test('time in which others had the CPU does not count; it is said once, and when it is over', async t => {
	let isStarved = true;
	let queued = 0;
	let last = performance.now();
	const {state, heartbeat} = stand(
		() => false,
		() => {
			const now = performance.now();
			queued += isStarved ? now - last : 0;
			last = now;
			return queued;
		},
	);
	heartbeat.every(rateMs);
	while (state.said.length === 0) {
		await wait(rateMs);
	}

	await wait(10 * rateMs);
	t.deepEqual(state.kills, []);
	t.is(state.said.length, 1);
	t.regex(state.said[0], /^got no CPU for \d+ of \d+ ms: this machine is overloaded; requests wait with it$/);
	heartbeat.beat();
	t.is(state.said[1], 'it gets the CPU again');
	isStarved = false;
	while (state.kills.length === 0) {
		await wait(rateMs);
	}

	heartbeat.stop();
});

test('one that is stuck on a busy machine is ended once it had its share of the CPU', async t => {
	const began = performance.now();
	const {state, heartbeat} = stand(
		() => false,
		() => (performance.now() - began) / 2,
	);
	heartbeat.every(rateMs);
	while (state.kills.length === 0) {
		await wait(rateMs / 2);
	}

	heartbeat.stop();
	t.true(performance.now() - began > 5 * rateMs);
});

test('one whose process gets no CPU elsewhere is spared for a while only', async t => {
	const began = performance.now();
	const {state, heartbeat} = stand(
		() => false,
		() => performance.now() - began,
		2,
	);
	heartbeat.every(rateMs);
	while (state.kills.length === 0) {
		await wait(rateMs);
	}

	heartbeat.stop();
	t.true(performance.now() - began >= 30 * rateMs);
});

test('a thread that only computes, and one that is gone, wait for no device', async t => {
	for (const tid of [process.pid, 2 ** 22 + 1]) {
		const kills: string[] = [];
		const heartbeat = new Heartbeat(
			{tid, post: () => undefined, kill: reason => kills.push(reason)},
			() => undefined,
		);
		heartbeat.every(rateMs);
		while (kills.length === 0) {
			await wait(rateMs);
		}

		heartbeat.stop();
		t.regex(kills[0], /missed its heartbeat/);
	}
});

test('a wait for the CPU counts before it is over, and neither work nor sleep is one', t => {
	const times = (ranMs: number, queuedMs: number, isRunnable: boolean) => ({ranMs, queuedMs, isRunnable});
	t.is(unservedMs(times(5, 7, false), times(5, 7, true), 1000), 1000);
	t.is(unservedMs(times(5, 7, false), times(405, 7, true), 1000), 600);
	t.is(unservedMs(times(5, 7, false), times(1005, 7, true), 1000), 0);
	t.is(unservedMs(times(5, 7, false), times(5, 7, false), 1000), 0);
	t.is(unservedMs(times(5, 7, false), times(5, 307, false), 1000), 300);
	t.is(unservedMs(undefined, times(5, 307, true), 1000), 0);
});
