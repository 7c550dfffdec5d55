/** Sessions over a socket, with an honest process at the other end and with hostile ones. */
import {Socket} from 'node:net';
import test, {type ExecutionContext} from 'ava';
import {probe} from '../../test/support/fixtures/probe.js';
import {socketPair} from '../isolation/socket-pair.js';
import {SessionError, type Client, type Handlers, type Session} from '../sdk/session.js';
import {ClientEnd} from './client-end.js';
import {encode} from './codec.js';
import {LeasePool} from './lease-pool.js';
import {ServerEnd} from './server-end.js';
import {SocketPort} from './socket-port.js';

type Probe = Client<typeof probe>;
type ProbeHandlers = Handlers<typeof probe>;

const noHandlers = Object.fromEntries(
	probe.opNames.map(name => [
		name,
		() => {
			throw new Error(`${name} was not expected`);
		},
	]),
);

class ServerSide {
	readonly bugs: unknown[] = [];
	readonly broken: string[] = [];
	readonly end: ServerEnd;

	constructor(socket: number, handlers: Partial<ProbeHandlers>) {
		this.end = new ServerEnd(
			{socket},
			{
				session: probe,
				handlers: {...noHandlers, ...handlers} as unknown as Handlers<Session>,
				context: {session: 1, client: 'client'},
				onBug: error => void this.bugs.push(error),
				count: () => undefined,
				onBroken: reason => void this.broken.push(reason),
			},
		);
	}
}

class ClientSide {
	readonly broken: string[] = [];
	readonly badReplies: string[] = [];
	readonly client: Probe;
	readonly end: ClientEnd;

	constructor(socket: number) {
		this.end = new ClientEnd({
			session: probe,
			server: 'server',
			onBadReply: reason => void this.badReplies.push(reason),
		});
		this.client = this.end.client() as unknown as Probe;
		this.connect(socket);
	}

	connect(socket: number): void {
		this.end.connect({socket}, {onBroken: reason => void this.broken.push(reason)});
	}
}

function wire(
	t: ExecutionContext,
	handlers: Partial<ProbeHandlers>,
): {readonly client: ClientSide; readonly server: ServerSide} {
	const [one, other] = socketPair();
	const server = new ServerSide(one, handlers);
	const client = new ClientSide(other);
	t.teardown(async () => {
		client.end.disconnect(true);
		await server.end.close();
	});
	return {client, server};
}

/** The other end as raw bytes. */
function raw(t: ExecutionContext, fd: number): Socket {
	const socket = new Socket({fd, readable: true, writable: true});
	socket.on('error', () => undefined);
	t.teardown(() => socket.destroy());
	return socket;
}

function frame(header: unknown, payload: Uint8Array = new Uint8Array(0), claimed = payload.length): Buffer {
	const encoded = encode([header]);
	const lengths = Buffer.alloc(8);
	lengths.writeUInt32LE(encoded.length, 0);
	lengths.writeUInt32LE(claimed, 4);
	return Buffer.concat([lengths, encoded, payload]);
}

async function until(holds: () => boolean): Promise<void> {
	while (!holds()) {
		await new Promise(resolve => {
			setTimeout(resolve, 2);
		});
	}
}

const pool = new LeasePool(64 * 2 ** 20);
const fillAll: Partial<ProbeHandlers> = {
	fill({data, value}) {
		data.fill(value);
		return {thread: 7};
	},
	sum: ({parts}) => ({sum: parts.reduce((sum, part) => sum + part.length * (part.at(-1) ?? 0), 0)}),
};

test('payload goes there and back, leased or not, small and large, many calls at once', async t => {
	const {
		client: {client, badReplies, broken},
		server,
	} = wire(t, fillAll);
	const lease = pool.lease(6 * 2 ** 20);
	lease.bytes.fill(3);
	const plain = new Uint8Array(100_000).fill(5);
	t.deepEqual(await client.sum({parts: [lease.bytes, plain, new Uint8Array(0)]}), {
		sum: lease.bytes.length * 3 + 500_000,
	});
	await client.fill({value: 9, data: lease.bytes.subarray(1)});
	t.is(lease.bytes[0], 3);
	t.true(lease.bytes.subarray(1).every(byte => byte === 9));
	const buffers = Array.from({length: 3000}, () => new Uint8Array(4096));
	await Promise.all(buffers.map(async (data, i) => client.fill({value: i % 251, data})));
	t.true(buffers.every((data, i) => data.every(byte => byte === i % 251)));
	t.deepEqual([...server.bugs, ...server.broken, ...broken, ...badReplies], []);
	lease.release();
});

test('memory for payload is bounded: calls wait for it, and all are answered', async t => {
	const {
		client: {client},
	} = wire(t, fillAll);
	const data = Array.from({length: 12}, () => pool.lease(2 ** 20).bytes);
	await Promise.all(Array.from({length: 120}, async (_, i) => client.fill({value: 1, data: data[i % 12]})));
	t.true(data.every(bytes => bytes.every(byte => byte === 1)));
});

test('errors of the contract arrive with code, message and detail; others kill the server', async t => {
	const {
		client: {client},
		server,
	} = wire(t, {
		refuse() {
			throw new SessionError('odd', 'not even', {number: 3});
		},
		remember() {
			throw new TypeError('a bug');
		},
	});
	await t.throwsAsync(client.refuse({}), {code: 'odd', message: 'not even'});
	await t.throwsAsync(client.fill({value: 'x' as unknown as number, data: new Uint8Array(3)}), {code: 'bad_request'});
	void client.remember({value: 1}).catch(() => undefined);
	await until(() => server.bugs.length > 0);
	t.is(server.bugs.length, 1);
});

test('a server that is gone is noticed, and its calls go to the next one', async t => {
	const [one, other] = socketPair();
	const client = new ClientSide(other);
	const socket = raw(t, one);
	const data = new Uint8Array(10);
	const call = client.client.fill({value: 4, data});
	socket.destroy();
	await until(() => client.broken.length > 0);
	client.end.disconnect(false);
	const [next, nextOther] = socketPair();
	const server = new ServerSide(next, fillAll);
	client.connect(nextOther);
	await call;
	t.true(data.every(byte => byte === 4));
	client.end.disconnect(true);
	await server.end.close();
});

const hostileClients: ReadonlyArray<readonly [string, Buffer, RegExp]> = [
	['garbage', Buffer.from('GET / HTTP/1.1\r\n\r\n'.repeat(1000)), /a message of \d+ bytes/],
	['a huge message', Buffer.from([0xff, 0xff, 0xff, 0x7f, 0, 0, 0, 0]), /a message of 2147483647 bytes/],
	['huge payload', frame([0, 0, [1], 0], new Uint8Array(0), 0xffff_ffff), /bytes of payload/],
	[
		'more values than bytes',
		Buffer.from([9, 0, 0, 0, 0, 0, 0, 0, 0x91, 0xdd, 0x0f, 0xff, 0xff, 0xff, 1, 2, 3]),
		/values in/,
	],
	['levels without end', Buffer.concat([Buffer.from([100, 0, 0, 0, 0, 0, 0, 0]), Buffer.alloc(100, 0x91)]), /levels/],
	['an extension', Buffer.from([7, 0, 0, 0, 0, 0, 0, 0, 0x91, 0xc7, 3, 0x62, 1, 2, 3]), /begins no value/],
	['no call', frame('hello'), /no call/],
	['an unknown operation', frame([0, 99, [], 0]), /operation 99/],
	['fields that are none', frame([0, 1, [null], 0]), /null|undefined|not iterable|bytes/],
	['a number that is too high', frame([5000, 0, [], 0]), /number 5000/],
	['payload beyond what came', frame([0, 0, [1, 1, 0, 4096], 0], new Uint8Array(10)), /more payload than it brought/],
	['results beyond what was announced', frame([0, 0, [1, 2, 0, 4096], 10]), /more payload than it announced/],
	['payload of a negative length', frame([0, 0, [1, 2, 0, -1], 10]), /impossible length/],
];

for (const [name, bytes, reason] of hostileClients) {
	test(`a client that sends ${name} is cut off`, async t => {
		const [one, other] = socketPair();
		const server = new ServerSide(one, fillAll);
		const socket = raw(t, other);
		let isCut = false;
		socket
			.on('close', () => {
				isCut = true;
			})
			.resume();
		socket.write(bytes);
		await until(() => server.broken.length > 0 && isCut);
		t.regex(server.broken[0], reason);
		t.deepEqual([server.broken.length, server.bugs.length], [1, 0]);
	});
}

test('a client that floods and reads no reply is cut off', async t => {
	const [one, other] = socketPair();
	const server = new ServerSide(one, {
		...fillAll,
		recall: () => ({value: 1, gone: 0, interruptions: ['x'.repeat(10_000)]}),
	});
	const socket = raw(t, other);
	socket.pause();
	const recall = frame([0, probe.opNames.indexOf('recall'), [], 0]);
	const flood = Buffer.concat(Array.from({length: 500}, () => recall));
	for (let i = 0; i < 100; i++) {
		socket.write(flood);
	}

	await until(() => server.broken.length > 0);
	t.regex(server.broken[0], /no reply is read/);
});

test('a client that makes one call under the same number twice is cut off', async t => {
	const [one, other] = socketPair();
	const server = new ServerSide(one, {recall: async () => new Promise(() => undefined)});
	const recall = frame([3, probe.opNames.indexOf('recall'), [], 0]);
	raw(t, other).write(Buffer.concat([recall, recall]));
	await until(() => server.broken.length > 0);
	t.regex(server.broken[0], /number 3, which is in use/);
});

test('a frame that never ends is given up, and so is one that stays half', async t => {
	for (const bytes of [frame([0, 0, [1, 1, 0, 4096], 0], new Uint8Array(4096)).subarray(0, -1), Buffer.of(1, 0)]) {
		const [one, other] = socketPair();
		const broken: string[] = [];
		const port = new SocketPort(
			one,
			{end: 'server', onTriple: () => undefined, onBroken: reason => void broken.push(reason)},
			{frameMsMax: 50},
		);
		raw(t, other).write(bytes);
		await until(() => broken.length > 0);
		t.regex(broken[0], /not complete within 0.05 s/);
		t.true(port.closed);
	}
});

test('a thread that stood still itself gives a frame its time anew', async t => {
	const [one, other] = socketPair();
	const broken: string[] = [];
	const numbers: number[] = [];
	const port = new SocketPort(
		one,
		{end: 'server', onTriple: number => void numbers.push(number), onBroken: reason => void broken.push(reason)},
		{frameMsMax: 100},
	);
	const bytes = frame([5, 0, [1, 1, 0, 4096], 0], new Uint8Array(4096));
	const socket = raw(t, other);
	socket.write(bytes.subarray(0, -1));
	await new Promise(resolve => {
		setTimeout(resolve, 20);
	});
	socket.write(bytes.subarray(-1));
	Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1500);
	await until(() => numbers.length + broken.length > 0);
	t.deepEqual([numbers, broken], [[5], []]);
	port.close();
});

const hostileServers: ReadonlyArray<readonly [string, Buffer, RegExp]> = [
	['garbage', Buffer.alloc(100, 0x41), /a message of/],
	['an answer to nobody', frame([7, 0, [], 0]), /a reply to 7/],
	['no payload', frame([0, 0, [5], 0]), /payload instead of 10/],
	['too much payload', frame([0, 0, [5], 0], new Uint8Array(11)), /11 bytes of payload instead of 10/],
	['a third kind of reply', frame([0, 2, [5], 0], new Uint8Array(10)), /a reply to 0/],
];

for (const [name, bytes, reason] of hostileServers) {
	test(`a server that answers with ${name} is cut off, and the call goes to the next one`, async t => {
		const [one, other] = socketPair();
		const client = new ClientSide(other);
		const data = new Uint8Array(10);
		const call = client.client.fill({value: 4, data});
		raw(t, one).write(bytes);
		await until(() => client.broken.length > 0);
		t.regex(client.broken[0], reason);
		client.end.disconnect(false);
		const [next, nextOther] = socketPair();
		const server = new ServerSide(next, fillAll);
		client.connect(nextOther);
		await call;
		t.is(data[9], 4);
		client.end.disconnect(true);
		await server.end.close();
	});
}

test('a server whose refusal or reply does not fit the contract is named', async t => {
	for (const bytes of [
		frame([0, 1, ['foreign', 'text', {}], 0]),
		frame([0, 1, [{}, 1], 0]),
		frame([0, 0, ['no number'], 0], new Uint8Array(10)),
	]) {
		const [one, other] = socketPair();
		const client = new ClientSide(other);
		const call = client.client.fill({value: 4, data: new Uint8Array(10)});
		raw(t, one).write(bytes);
		await t.throwsAsync(call, {code: 'session_lost'});
		t.is(client.badReplies.length, 1);
		client.end.disconnect(true);
	}
});
