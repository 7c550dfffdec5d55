import test from 'ava';
import {BusyWait, quickCountMin} from './busy-wait.js';

const limitMs = 0.1;

/** One whose client has just become worth waiting for. */
function eager(client: object): BusyWait {
	const busyWait = new BusyWait(limitMs);
	// The first arrival only says whose turn it is.
	for (let i = 0; i <= quickCountMin; i++) {
		busyWait.arrived(client, limitMs / 2);
	}

	return busyWait;
}

test('a client is waited for once its requests came soon so many times in a row', t => {
	const client = {};
	const busyWait = new BusyWait(limitMs);
	for (let i = 0; i <= quickCountMin; i++) {
		t.is(busyWait.msFor(client), 0);
		busyWait.arrived(client, limitMs);
	}

	t.is(busyWait.msFor(client), limitMs);
});

test('one request that comes late ends it', t => {
	const client = {};
	const busyWait = eager(client);
	busyWait.arrived(client, limitMs * 2);
	t.is(busyWait.msFor(client), 0);
});

test('several requests at once end it', t => {
	const client = {};
	const busyWait = eager(client);
	busyWait.crowded();
	t.is(busyWait.msFor(client), 0);
});

test('where clients take turns, none is waited for; one that is only connected disturbs nobody', t => {
	const [one, other] = [{name: 'one'}, {name: 'other'}];
	const busyWait = eager(one);
	t.is(busyWait.msFor(other), 0);
	for (let i = 0; i < 10 * quickCountMin; i++) {
		busyWait.arrived(i % 2 === 0 ? other : one, 0);
		t.is(busyWait.msFor(one), 0);
		t.is(busyWait.msFor(other), 0);
	}
});

test('a limit of 0 is never', t => {
	const client = {};
	const busyWait = new BusyWait(0);
	for (let i = 0; i < 10 * quickCountMin; i++) {
		busyWait.arrived(client, 0);
	}

	t.is(busyWait.msFor(client), 0);
});
