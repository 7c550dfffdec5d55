import test from 'ava';
import {Heartbeat} from './heartbeat.js';

const rateMs = 20;

async function wait(milliseconds: number): Promise<void> {
	await new Promise<void>(resolve => {
		setTimeout(resolve, milliseconds);
	});
}

function stand(isWaiting: () => boolean) {
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
	return {state, heartbeat: new Heartbeat(host, text => state.said.push(text), isWaiting)};
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
	heartbeat.hear();
	t.is(state.said.length, 2);
	isWaiting = false;
	while (state.kills.length === 0) {
		await wait(rateMs);
	}

	heartbeat.stop();
	t.is(state.said.length, 2);
});

test('a thread that only computes, and one that is gone, wait for no device', async t => {
	for (const tid of [process.pid, 2 ** 22 + 1]) {
		const kills: string[] = [];
		const heartbeat = new Heartbeat({tid, post: () => undefined, kill: reason => kills.push(reason)}, () => undefined);
		heartbeat.every(rateMs);
		while (kills.length === 0) {
			await wait(rateMs);
		}

		heartbeat.stop();
		t.is(kills.length > 0, true);
	}
});
