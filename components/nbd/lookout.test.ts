import {setImmediate} from 'node:timers/promises';
import test from 'ava';
import {BusyWait, quickCountMin} from './busy-wait.js';
import {lookCountMax} from './client-limits.js';
import {Lookout} from './lookout.js';

/** A clock that goes on by `stepMs` with each look, and a lookout that counts these. */
function lookoutStand({limitMs = 10, stepMs = 1} = {}) {
	let nowMs = 0;
	let lookCount = 0;
	const busyWait = new BusyWait(limitMs);
	const stand = {
		/** Answers a look; true to look again. */
		answer: (): boolean => true,
		busyWait,
		lookout: new Lookout({
			busyWait,
			now: () => nowMs,
			look(): boolean {
				lookCount++;
				nowMs += stepMs;
				return stand.answer();
			},
		}),
		get lookCount() {
			return lookCount;
		},
		pass(milliseconds: number) {
			nowMs += milliseconds;
		},
		/** One request after another, each soon after the last reply. */
		async serveQuickly(count = quickCountMin + 1) {
			for (let i = 0; i < count; i++) {
				stand.lookout.begin(1);
				stand.lookout.end();
				await setImmediate();
			}

			lookCount = 0;
		},
	};
	return stand;
}

test('nobody looks before the client has shown that it is quick', async t => {
	const stand = lookoutStand();
	stand.lookout.begin(1);
	await setImmediate();
	t.is(stand.lookCount, 0);
});

test('looking ends with the first thing that is found', async t => {
	const stand = lookoutStand();
	await stand.serveQuickly();
	stand.answer = () => {
		if (stand.lookCount < 3) {
			return true;
		}

		stand.lookout.end();
		return false;
	};
	stand.lookout.begin(1);
	t.is(stand.lookCount, 0, 'the event loop goes first');
	await setImmediate();
	t.is(stand.lookCount, 3);
	await setImmediate();
	t.is(stand.lookCount, 3);
});

test('looking ends with the time for it, and what comes late ends it for the next ones', async t => {
	const stand = lookoutStand({limitMs: 10, stepMs: 1});
	await stand.serveQuickly();
	stand.lookout.begin(1);
	await setImmediate();
	t.is(stand.lookCount, 10);
	await setImmediate();
	t.is(stand.lookCount, 10, 'a client that says nothing costs nothing more');
	stand.pass(1000);
	stand.lookout.end();
	stand.lookout.begin(1);
	await setImmediate();
	t.is(stand.lookCount, 10);
});

test('a clock that stands still does not hold the thread up', async t => {
	const stand = lookoutStand({stepMs: 0});
	await stand.serveQuickly();
	stand.lookout.begin(1);
	await setImmediate();
	t.is(stand.lookCount, lookCountMax);
});

test('what arrives in the turn of the event loop is not looked for', async t => {
	const stand = lookoutStand();
	await stand.serveQuickly();
	stand.lookout.begin(1);
	stand.lookout.end();
	await setImmediate();
	t.is(stand.lookCount, 0);
});

test('nobody looks where several requests were under way at once', async t => {
	const stand = lookoutStand();
	await stand.serveQuickly();
	stand.lookout.begin(2);
	await setImmediate();
	t.is(stand.lookCount, 0);
});

test('nobody looks for one client while another one is busy', async t => {
	const stand = lookoutStand();
	await stand.serveQuickly();
	stand.lookout.begin(1);
	stand.busyWait.arrived({}, 0);
	await setImmediate();
	t.is(stand.lookCount, 0);
});
