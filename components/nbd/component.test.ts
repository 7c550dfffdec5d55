import {once} from 'node:events';
import fs from 'node:fs';
import net from 'node:net';
import path from 'node:path';
import {setTimeout} from 'node:timers/promises';
import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {encodeRequest, type NbdPeer} from '../../test/support/nbd-peer.js';
import {NbdStand} from '../../test/support/nbd-stand.js';
import {handshakeMsMax, pollCountMax, stallMsMax} from './client-limits.js';
import nbd from './component.js';

const MiB = 2 ** 20;

async function isAccepted(socketPath: string): Promise<boolean> {
	return new Promise(resolve => {
		const socket = net.connect(socketPath);
		socket.on('connect', () => {
			socket.destroy();
			resolve(true);
		});
		socket.on('error', () => {
			resolve(false);
		});
	});
}

/** A clock that a test sets; each sleep ends when the test says so. */
function handClock() {
	let nowMs = 0;
	let wake: () => void = () => undefined;
	return {
		environment: {
			now: () => nowMs,
			sleep: async () =>
				new Promise<void>(resolve => {
					wake = resolve;
				}),
		},
		advance(milliseconds: number) {
			nowMs += milliseconds;
			wake();
		},
	};
}

test('the unix socket belongs to its owner alone and is gone after stop', async t => {
	const stand = await NbdStand.start();
	t.is(fs.statSync(stand.socketPath).mode & 0o777, 0o600);
	t.deepEqual(stand.component.running.hints!(), [`nbdinfo "nbd+unix:///?socket=${stand.socketPath}"`]);
	await stand.stop();
	t.false(fs.existsSync(stand.socketPath));
});

test('TCP where it is configured', async t => {
	const stand = await NbdStand.start({config: {tcp: [{host: '127.0.0.1', port: '0'}]}});
	const hint = stand.component.running.hints!()[1];
	t.regex(hint, /^nbdinfo "nbd:\/\/127\.0\.0\.1:\d+"$/);
	const socket = net.connect(Number(/:(\d+)"/.exec(hint)![1]), '127.0.0.1');
	const greeting = await new Promise<Buffer>(resolve => {
		socket.once('data', resolve);
	});
	t.is(greeting.toString('latin1', 0, 8), 'NBDMAGIC');
	socket.destroy();
	await stand.stop();
});

test('a socket file left behind is replaced; anything else at its place is not', async t => {
	const directory = temporaryDirectory();
	const socketPath = path.join(directory, 's');
	const left = net.createServer(socket => {
		socket.destroy();
	});
	await new Promise<void>(resolve => {
		left.listen(path.join(directory, 'bound'), resolve);
	});
	// The kernel keeps the name when the listener goes away under another one.
	fs.renameSync(path.join(directory, 'bound'), socketPath);
	const config = {unix: [{path: socketPath}]};
	await t.throwsAsync(NbdStand.start({config}), {name: 'StartError', message: /another server accepts connections/});
	await new Promise<void>(resolve => {
		left.close(() => {
			resolve();
		});
	});
	t.true(fs.existsSync(socketPath));
	// A program that another test of this process starts at this moment holds the listener, too, until it runs.
	while (await isAccepted(socketPath)) {
		await setTimeout(10);
	}

	const stand = await NbdStand.start({config});
	await stand.stop();
	fs.writeFileSync(socketPath, 'precious');
	await t.throwsAsync(NbdStand.start({config}), {name: 'StartError', message: /is no socket/});
	t.is(fs.readFileSync(socketPath, 'utf8'), 'precious');
});

test('a socket path that the kernel would cut off is refused', async t => {
	await t.throwsAsync(NbdStand.start({config: {unix: [{path: `/tmp/${'x'.repeat(110)}`}]}}), {
		name: 'StartError',
		message: /takes no more than 107;/,
	});
});

test('a port that is taken is a clear error', async t => {
	const holder = net.createServer();
	await new Promise<void>(resolve => {
		holder.listen(0, '127.0.0.1', resolve);
	});
	const {port} = holder.address() as net.AddressInfo;
	await t.throwsAsync(NbdStand.start({config: {tcp: [{port: String(port)}]}}), {
		name: 'StartError',
		message: /cannot listen on 127\.0\.0\.1:\d+: .*EADDRINUSE/,
	});
	holder.close();
});

test('a configuration without a socket, and wrong values, are refused', t => {
	t.false(nbd.config.safeParse({}).success);
	t.false(nbd.config.safeParse({unix: [{}]}).success);
	t.false(nbd.config.safeParse({tcp: [{port: '70000'}]}).success);
	t.false(nbd.config.safeParse({unix: [{path: 's'}], readonly: 'maybe'}).success);
	t.false(nbd.config.safeParse({unix: [{path: 's'}], poll_us: '1001'}).success);
	t.true(nbd.config.safeParse({unix: [{path: 's'}], tcp: [{}], export: 'e', readonly: 'yes'}).success);
});

test('readonly="yes" and a device that is not writable refuse writes', async t => {
	for (const options of [{config: {readonly: 'yes'}}, {writable: false}]) {
		const stand = await NbdStand.start(options);
		const peer = await stand.connect();
		t.is((await peer.attach()).flags & 2, 2);
		t.is(await peer.write(0, Buffer.alloc(4096, 1)), 1);
		t.is(stand.medium.image[0], 0);
		await stand.stop();
	}
});

test('poll_us decides whether the thread looks for requests of a client that sends one after another', async t => {
	for (const [pollUs, isExpected] of [
		['0', false],
		['100', true],
	] as const) {
		let clockCount = 0;
		// It stands still, so each wait lasts as long as waits may.
		const now = () => {
			clockCount++;
			return 0;
		};

		const stand = await NbdStand.start({config: {poll_us: pollUs}, environment: {now}});
		const peer = await stand.attach();
		for (let i = 0; i < 20; i++) {
			t.is((await peer.read(0, 4096)).length, 4096);
		}

		// The last reply arrives before the thread begins to look.
		await setTimeout(50);
		t.is(clockCount > pollCountMax, isExpected);
		await stand.stop();
	}
});

test('stop finishes what was accepted, then makes it durable', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	const operations: string[] = [];
	let open: () => void = () => undefined;
	const reached = new Promise<void>(resolve => {
		stand.gate = async operation => {
			operations.push(operation);
			resolve();
			return operation === 'write'
				? new Promise(done => {
						open = done;
					})
				: undefined;
		};
	});
	peer.request({command: 1, payload: Buffer.alloc(4096, 8)});
	await reached;
	const stopped = stand.stop();
	open();
	await stopped;
	t.is((await peer.simpleReply()).error, 0);
	t.is((await peer.closed()).length, 0);
	t.deepEqual(operations, ['write', 'sync']);
	t.is(stand.medium.image[0], 8);
});

test('a client that never chooses an export is cut off', async t => {
	const clock = handClock();
	const stand = await NbdStand.start({environment: clock.environment});
	const peer = await stand.connect();
	await peer.greet();
	clock.advance(handshakeMsMax + 1);
	t.is((await peer.closed()).length, 0);
	t.regex(stand.component.log.at(-1)!.text, /no export chosen within 30 s/);
	await stand.stop();
});

test('a client that stops in the middle of a payload is cut off, one that is only silent is not', async t => {
	const clock = handClock();
	const stand = await NbdStand.start({environment: clock.environment});
	const silent = await stand.attach();
	const stalled = await stand.attach();
	const reached = new Promise<void>(resolve => {
		stand.gate = async () => {
			resolve();
		};
	});
	// The first write is answered, so the second one's first half has arrived as well.
	stalled.send(
		encodeRequest({command: 1, payload: Buffer.alloc(4096)}),
		encodeRequest({command: 1, payload: Buffer.alloc(8192)}).subarray(0, 5000),
	);
	await reached;
	t.is((await stalled.simpleReply()).error, 0);
	clock.advance(stallMsMax + 1);
	await stalled.closed();
	t.is(await silent.write(0, Buffer.alloc(4096)), 0);
	t.regex(stand.component.log.at(-1)!.text, /payload of a write stopped/);
	await stand.stop();
});

/** Clients that ask for 64 MiB each and take nothing. */
async function standStill(stand: NbdStand, count: number, structured: boolean): Promise<NbdPeer[]> {
	const peers: NbdPeer[] = [];
	for (let i = 0; i < count; i++) {
		const peer = await stand.attach({structured});
		peer.socket.pause();
		peer.send(...Array.from({length: 64}, (_, cookie) => encodeRequest({command: 0, cookie, length: MiB})));
		peers.push(peer);
	}

	return peers;
}

for (const [count, structured] of [
	[4, true],
	[24, true],
	[100, true],
	[40, false],
] as const) {
	test(`${count} clients that take no replies hold nobody up, with ${structured ? 'structured' : 'simple'} replies`, async t => {
		// Time stands still: nobody can be cut off, so whoever is served has not waited for that.
		const stand = await NbdStand.start({
			environment: handClock().environment,
			blockCount: 1024,
			leaseLimit: 64 * MiB,
		});
		const {pool} = stand.component;
		stand.medium.image.fill(3);
		const standing = await standStill(stand, count, structured);
		await setTimeout(100);
		const heldByteLength = pool.usedBytes;
		t.true(heldByteLength <= 64 * MiB);
		const polite = await stand.attach();
		for (const byteLength of [4096, 100_000, MiB, 2 * MiB]) {
			t.is(await polite.write(5, Buffer.alloc(byteLength, 9)), 0);
			t.true((await polite.read(5, byteLength)).equals(Buffer.alloc(byteLength, 9)));
			t.true((await polite.read(5, byteLength, 4)).equals(Buffer.alloc(byteLength, 9)), 'unfragmented');
		}

		const simple = await stand.attach({structured: false});
		for (const length of [4096, MiB, 2 * MiB]) {
			simple.request({command: 0, cookie: 7, length, offset: 5});
			t.deepEqual(await simple.simpleReply(), {error: 0, cookie: 7});
			t.true((await simple.take(length)).subarray(0, MiB).equals(Buffer.alloc(Math.min(length, MiB), 9)));
			simple.request({command: 3, cookie: 8});
			t.deepEqual(await simple.simpleReply(), {error: 0, cookie: 8});
		}

		// Waiting longer brings them no more memory.
		t.true(pool.usedBytes <= heldByteLength + MiB);
		for (const {socket} of standing) {
			socket.destroy();
		}

		await stand.stop();
	});
}

test('a failure in the middle of a reply that is sent in pieces ends the connection, one at its beginning is answered', async t => {
	const stand = await NbdStand.start({environment: handClock().environment, blockCount: 1024, leaseLimit: 64 * MiB});
	stand.medium.image.fill(3);
	const standing = await standStill(stand, 100, true);
	await setTimeout(100);
	const simple = await stand.attach({structured: false});
	let readCount = 0;
	const failFrom = (number: number) => {
		readCount = 0;
		stand.gate = async operation => {
			readCount += operation === 'read' ? 1 : 0;
			if (readCount >= number) {
				throw new SessionError('device_failed', 'on purpose');
			}
		};
	};
	failFrom(1);
	simple.request({command: 0, cookie: 7, length: MiB});
	t.deepEqual(await simple.simpleReply(), {error: 5, cookie: 7});
	failFrom(3);
	simple.request({command: 0, cookie: 8, length: MiB});
	t.true((await simple.closed()).length < MiB);
	stand.gate = async () => undefined;
	for (const {socket} of standing) {
		socket.destroy();
	}

	await stand.stop();
});

for (const structured of [true, false]) {
	test(`a client that takes its replies slowly is never cut off, one that takes nothing is; ${structured ? 'structured' : 'simple'} replies`, async t => {
		const clock = handClock();
		const stand = await NbdStand.start({environment: clock.environment, blockCount: 8192});
		// Holes would be told in a few bytes.
		stand.medium.image.fill(3);
		const peer = await stand.attach({structured});
		const {socket} = peer;
		socket.pause();
		peer.request({command: 0, length: 32 * MiB});
		const wasCut = () => stand.component.log.some(({text}) => text.includes('no byte of its replies taken'));
		// Some KiB every two minutes, hours long: much less than any part of the reply.
		for (let round = 0; round < 40; round++) {
			socket.resume();
			await once(socket, 'data');
			socket.pause();
			await setTimeout(5);
			clock.advance(stallMsMax - 1);
			await setTimeout(1);
			t.false(wasCut(), `round ${round}`);
		}

		for (let round = 0; round < 2; round++) {
			await setTimeout(5);
			clock.advance(stallMsMax + 1);
		}

		await setTimeout(5);
		t.true(wasCut());
		socket.destroy();
		await stand.stop();
	});
}
