import test, {type ExecutionContext} from 'ava';
import {probe} from '../../test/support/fixtures/probe.js';
import {SessionError, type Client, type Handlers, type Session} from '../sdk/session.js';
import {ClientEnd} from './client-end.js';
import {doorbell} from './doorbell.js';
import {LeasePool} from './lease-pool.js';
import {threadEnds} from './ring-port.js';
import {ServerEnd} from './server-end.js';

type Probe = Client<typeof probe>;
type ProbeHandlers = Handlers<typeof probe>;

const pool = new LeasePool(8 * 2 ** 20);

class Wiring {
	readonly end: ClientEnd;
	readonly client: Probe;
	readonly bugs: unknown[] = [];
	readonly badReplies: string[] = [];
	readonly counted: number[] = [];
	server!: ServerEnd;

	constructor() {
		this.end = new ClientEnd({
			session: probe,
			server: 'server',
			onBadReply: reason => {
				this.badReplies.push(reason);
			},
		});
		this.client = this.end.client() as unknown as Probe;
	}

	connect(t: ExecutionContext, handlers: Partial<ProbeHandlers>): void {
		const [forServer, forClient] = threadEnds(doorbell.bell, doorbell.bell);
		this.server = new ServerEnd(forServer, {
			session: probe,
			handlers: {...noHandlers, ...handlers} as unknown as Handlers<Session>,
			context: {session: 1, client: 'client'},
			onBug: error => {
				this.bugs.push(error);
			},
			count: byteLength => {
				this.counted.push(byteLength);
			},
		});
		this.end.connect(forClient);
		t.teardown(async () => this.server.close());
	}
}

const noHandlers = Object.fromEntries(
	probe.opNames.map(name => [
		name,
		() => {
			throw new Error(`${name} was not expected`);
		},
	]),
);

function wire(t: ExecutionContext, handlers: Partial<ProbeHandlers>): Wiring {
	const wiring = new Wiring();
	wiring.connect(t, handlers);
	return wiring;
}

/** A promise and the function that resolves it. */
function gate(): {readonly open: () => void; readonly passed: Promise<void>} {
	let open!: () => void;
	const passed = new Promise<void>(resolve => {
		open = resolve;
	});
	return {open, passed};
}

test('leased payload is the same memory at both ends', async t => {
	let seen: Uint8Array | undefined;
	const {client, counted} = wire(t, {
		fill({data, value}) {
			seen = data;
			data.fill(value);
			return {thread: 0};
		},
	});
	const lease = pool.lease(4096);
	const {bytes} = lease;
	await client.fill({value: 7, data: bytes.subarray(100, 200)});
	t.is(seen?.byteOffset, bytes.byteOffset + 100);
	t.true(bytes.subarray(100, 200).every(byte => byte === 7));
	bytes[150] = 9;
	t.is(seen?.[50], 9);
	t.deepEqual(counted, [100]);
	lease.release();
});

test('payload that was not leased is copied in, and back', async t => {
	const {client} = wire(t, {
		fill({data, value}) {
			data.fill(value);
			return {thread: 0};
		},
		sum: ({parts}) => ({sum: parts.reduce((sum, part) => sum + (part.at(0) ?? 0) * part.length, 0)}),
	});
	const data = new Uint8Array(10_000);
	await client.fill({value: 7, data});
	t.true(data.every(byte => byte === 7));
	const leased = pool.lease(10);
	leased.bytes.fill(2);
	t.deepEqual(await client.sum({parts: [data, leased.bytes, new Uint8Array(0)]}), {sum: 70_020});
	leased.release();
});

test('a view can be handed on to a third component', async t => {
	const last = wire(t, {
		fill({data, value}) {
			data.fill(value);
			return {thread: 0};
		},
	});
	const first = wire(t, {fill: last.client.fill});
	const lease = pool.lease(4096);
	await first.client.fill({value: 3, data: lease.bytes});
	t.true(lease.bytes.every(byte => byte === 3));
	lease.release();
});

test('memory in a reply stays shared', async t => {
	const memory = pool.lease(4096);
	const {client} = wire(t, {shared: () => ({memory: memory.bytes})});
	const {memory: shown} = await client.shared({});
	memory.bytes[17] = 99;
	t.is(shown[17], 99);
});

test('fields keep their values: numbers of any size, text, bytes, what is optional', async t => {
	const {client} = wire(t, {echo: request => request});
	const request = {list: [0, -1, 2 ** 31, 2 ** 53 - 1, 0.5], text: 'ä\0', hash: Uint8Array.of(0, 1, 254, 255)};
	const reply = await client.echo(request);
	t.deepEqual({...reply, hash: Uint8Array.from(reply.hash)}, request);
	t.deepEqual((await client.echo({...request, nested: {flag: true}})).nested, {flag: true});
});

test('a request that does not fit the contract is refused, whatever the handler', async t => {
	const {client, bugs} = wire(t, {});
	await t.throwsAsync(client.remember({value: 'text' as unknown as number}), {message: /probe.remember: value/});
	await t.throwsAsync(client.echo({list: [], text: '', hash: new Uint8Array(3)}), {
		message: /hash 4 bytes are required/,
	});
	t.deepEqual(bugs, []);
});

test('errors cross with code, message and detail; anything else is a bug', async t => {
	const {client, bugs} = wire(t, {
		refuse() {
			throw new SessionError('odd', 'not even', {number: 3});
		},
		async remember() {
			throw new SessionError('foreign', 'of another contract');
		},
		recall() {
			throw new TypeError('bug');
		},
	});
	const error = await t.throwsAsync(client.refuse({}), {instanceOf: SessionError, message: 'not even', code: 'odd'});
	t.deepEqual(error?.detail, {number: 3});
	void client.remember({value: 1});
	void client.recall({});
	await t.throwsAsync(client.refuse({}));
	t.deepEqual(bugs.map(String), [
		'TypeError: bug',
		'Error: answered with the error code "foreign", which the session probe does not have: of another contract',
	]);
});

test('a reply that does not fit the contract is reported', async t => {
	const {client, badReplies} = wire(t, {fill: () => ({thread: 'x' as unknown as number})});
	await t.throwsAsync(client.fill({value: 1, data: new Uint8Array(1)}), {code: 'session_lost'});
	t.regex(badReplies[0], /^its reply to probe.fill does not fit the contract: thread/);
});

test('calls without an answer are sent again, in their order, to a server that comes back', async t => {
	const wiring = new Wiring();
	const seen: number[] = [];
	const never = gate();
	wiring.connect(t, {
		async remember() {
			await never.passed;
			return {};
		},
	});
	const lease = pool.lease(4096);
	const calls = [wiring.client.remember({value: 1}), wiring.client.remember({value: 2})];
	wiring.end.disconnect(false);
	calls.push(wiring.client.remember({value: 3}));
	const filled = wiring.client.fill({value: 5, data: lease.bytes});
	wiring.connect(t, {
		remember({value}) {
			seen.push(value);
			return {};
		},
		fill({data, value}) {
			data.fill(value);
			return {thread: 0};
		},
	});
	await Promise.all([...calls, filled]);
	t.deepEqual(seen, [1, 2, 3]);
	t.is(lease.bytes[4095], 5);
	lease.release();
	never.open();
});

/** A server that answers when it is told to, and says what it was sent. */
function patientServer() {
	const seen: number[] = [];
	const waiting: Array<() => void> = [];
	return {
		seen,
		async remember({value}: {value: number}) {
			seen.push(value);
			await new Promise<void>(resolve => {
				waiting.push(resolve);
			});
			return {};
		},
		answerNext() {
			waiting.shift()?.();
		},
		async sent(count: number) {
			while (seen.length < count) {
				await new Promise(setImmediate);
			}
		},
	};
}

test('a client that holds its calls has what was sent answered, and sends the rest to the next server', async t => {
	const wiring = new Wiring();
	const [first, second] = [patientServer(), patientServer()];
	wiring.connect(t, {remember: first.remember});
	const calls = [wiring.client.remember({value: 1}), wiring.client.remember({value: 2})];
	await first.sent(2);
	let atRest = false;
	const rest = wiring.end.hold().then(() => {
		atRest = true;
	});
	calls.push(wiring.client.remember({value: 3}));
	first.answerNext();
	await calls[0];
	// Its number is free again, and may be that of a call which waits.
	calls.push(wiring.client.remember({value: 4}));
	t.false(atRest);
	first.answerNext();
	await rest;
	await calls[1];
	wiring.connect(t, {remember: second.remember});
	await second.sent(2);
	second.answerNext();
	second.answerNext();
	await Promise.all(calls);
	t.deepEqual(
		[first.seen, second.seen],
		[
			[1, 2],
			[3, 4],
		],
	);
});

test('a client that is released goes on with the server that it has', async t => {
	const wiring = new Wiring();
	const server = patientServer();
	wiring.connect(t, {remember: server.remember});
	const calls = [wiring.client.remember({value: 1})];
	await server.sent(1);
	const rest = wiring.end.hold();
	calls.push(wiring.client.remember({value: 2}));
	wiring.end.release();
	await server.sent(2);
	server.answerNext();
	server.answerNext();
	await Promise.all(calls);
	t.deepEqual(server.seen, [1, 2]);
	await wiring.end.hold();
	wiring.end.disconnect(false);
	const late = wiring.client.remember({value: 3});
	wiring.connect(t, {remember: () => ({})});
	await t.notThrowsAsync(late);
	void rest;
});

test('calls to a server that was lost fail, until there is another one', async t => {
	const wiring = new Wiring();
	const never = gate();
	wiring.connect(t, {
		async remember() {
			await never.passed;
			return {};
		},
	});
	const pending = wiring.client.remember({value: 1});
	wiring.end.disconnect(true);
	await t.throwsAsync(pending, {code: 'session_lost', message: 'the session probe to "server" was lost'});
	await t.throwsAsync(wiring.client.remember({value: 2}), {code: 'session_lost'});
	wiring.connect(t, {remember: () => ({})});
	await t.notThrowsAsync(wiring.client.remember({value: 3}));
	never.open();
});

test('a closed server end waits for its handlers', async t => {
	const {open, passed} = gate();
	const entered = gate();
	const wiring = wire(t, {
		async remember() {
			entered.open();
			await passed;
			return {};
		},
	});
	void wiring.client.remember({value: 1});
	await entered.passed;
	let closed = false;
	const closing = wiring.server.close().then(() => {
		closed = true;
	});
	await Promise.resolve();
	t.false(closed);
	open();
	await closing;
	t.true(closed);
});

test('more calls than may be in flight wait for their turn', async t => {
	let running = 0;
	let runningMax = 0;
	const {open, passed} = gate();
	const {client} = wire(t, {
		async remember() {
			running++;
			runningMax = Math.max(runningMax, running);
			if (running === 1024) {
				open();
			}

			await passed;
			running--;
			return {};
		},
	});
	await Promise.all(Array.from({length: 3000}, async (_, value) => client.remember({value})));
	t.is(runningMax, 1024);
});
