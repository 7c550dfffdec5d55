import {setImmediate} from 'node:timers/promises';
import test from 'ava';
import {BusyWait, quickCountMin} from './busy-wait.js';
import {pollCountMax} from './client-limits.js';
import {SocketPoller} from './socket-poller.js';

/** A clock that goes on by `stepMs` with each poll, and a poller that counts these. */
function pollerStand({limitMs = 10, stepMs = 1} = {}) {
	let nowMs = 0;
	let pollCount = 0;
	const busyWait = new BusyWait(limitMs);
	const stand = {
		/** Answers a look; true to look again. */
		answer: (): boolean => true,
		busyWait,
		poller: new SocketPoller({
			busyWait,
			now: () => nowMs,
			poll(): boolean {
				pollCount++;
				nowMs += stepMs;
				return stand.answer();
			},
		}),
		get pollCount() {
			return pollCount;
		},
		pass(milliseconds: number) {
			nowMs += milliseconds;
		},
		/** One request after another, each soon after the last reply. */
		async serveQuickly(count = quickCountMin + 1) {
			for (let i = 0; i < count; i++) {
				stand.poller.begin(1);
				stand.poller.end();
				await setImmediate();
			}

			pollCount = 0;
		},
	};
	return stand;
}

test('nobody looks before the client has shown that it is quick', async t => {
	const stand = pollerStand();
	stand.poller.begin(1);
	await setImmediate();
	t.is(stand.pollCount, 0);
});

test('looking ends with the first thing that is found', async t => {
	const stand = pollerStand();
	await stand.serveQuickly();
	stand.answer = () => {
		if (stand.pollCount < 3) {
			return true;
		}

		stand.poller.end();
		return false;
	};
	stand.poller.begin(1);
	t.is(stand.pollCount, 0, 'the event loop goes first');
	await setImmediate();
	t.is(stand.pollCount, 3);
	await setImmediate();
	t.is(stand.pollCount, 3);
});

test('looking ends with the time for it, and what comes late ends it for the next ones', async t => {
	const stand = pollerStand({limitMs: 10, stepMs: 1});
	await stand.serveQuickly();
	stand.poller.begin(1);
	await setImmediate();
	t.is(stand.pollCount, 10);
	await setImmediate();
	t.is(stand.pollCount, 10, 'a client that says nothing costs nothing more');
	stand.pass(1000);
	stand.poller.end();
	stand.poller.begin(1);
	await setImmediate();
	t.is(stand.pollCount, 10);
});

test('a clock that stands still does not hold the thread up', async t => {
	const stand = pollerStand({stepMs: 0});
	await stand.serveQuickly();
	stand.poller.begin(1);
	await setImmediate();
	t.is(stand.pollCount, pollCountMax);
});

test('what arrives in the turn of the event loop is not looked for', async t => {
	const stand = pollerStand();
	await stand.serveQuickly();
	stand.poller.begin(1);
	stand.poller.end();
	await setImmediate();
	t.is(stand.pollCount, 0);
});

test('nobody looks where several requests were under way at once', async t => {
	const stand = pollerStand();
	await stand.serveQuickly();
	stand.poller.begin(2);
	await setImmediate();
	t.is(stand.pollCount, 0);
});

test('nobody looks for one client while another one is busy', async t => {
	const stand = pollerStand();
	await stand.serveQuickly();
	stand.poller.begin(1);
	stand.busyWait.arrived({}, 0);
	await setImmediate();
	t.is(stand.pollCount, 0);
});
