import {once} from 'node:events';
import net from 'node:net';
import path from 'node:path';
import {setImmediate} from 'node:timers/promises';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {SeededRandom} from '../../test/support/seeded-random.js';
import {ByteSource} from './byte-source.js';
import {DirectSocket} from './direct-socket.js';
import {receivedByteLengthMax} from './client-limits.js';

const memory = Buffer.alloc(1024);

/** A socket that was adopted, and its peer. */
async function pair({host}: {host?: string} = {}) {
	const server = net.createServer({allowHalfOpen: true, pauseOnConnect: true});
	const accepted = once(server, 'connection') as Promise<[net.Socket]>;
	server.listen(host === undefined ? {path: path.join(temporaryDirectory(), 's')} : {host, port: 0});
	await once(server, 'listening');
	const address = server.address()!;
	const peer = typeof address === 'string' ? net.connect(address) : net.connect(address.port, host);
	const [socket] = await accepted;
	server.close();
	const direct = DirectSocket.adopt(socket, memory)!;
	direct.stream.on('error', () => undefined);
	peer.on('error', () => undefined);
	return {direct, peer, source: new ByteSource(direct.stream, {direct, onProgress: () => undefined})};
}

/** Sends, and resolves once the kernel has it: on one machine, the other end can read it then. */
async function send(peer: net.Socket, bytes: Uint8Array): Promise<void> {
	await new Promise<void>(resolve => {
		peer.write(bytes, () => {
			resolve();
		});
	});
}

/** Takes everything until the end, by every way there is, in an order that the seed decides. */
async function takeAll(source: ByteSource, random: SeededRandom): Promise<Buffer> {
	const parts: Buffer[] = [];
	for (;;) {
		const length = 1 + random.below(5000);
		if (random.below(2) === 0) {
			const part = Buffer.alloc(length);
			if (
				!(await source.fill(part, () => {
					source.look();
				}))
			) {
				return Buffer.concat(parts);
			}

			parts.push(part);
		} else {
			const part = source.tryTake(1 + random.below(2000)) ?? (await source.take(1));
			if (!part) {
				return Buffer.concat(parts);
			}

			parts.push(Buffer.from(part));
		}
	}
}

for (const host of [undefined, '127.0.0.1']) {
	test(`bytes keep their order, whichever way they are read (${host ?? 'unix'})`, async t => {
		const seed = Number(process.env.CBE_TEST_SEED ?? 41);
		const random = new SeededRandom(seed);
		const {direct, peer, source} = await pair({host});
		const sent = random.bytes(3_000_000);
		// A last part that is shorter than what a reader asks for is not handed out, so the end is found by single
		// bytes.
		const received = takeAll(source, random);
		for (let start = 0; start < sent.length;) {
			const end = Math.min(sent.length, start + 1 + random.below(60_000));
			await send(peer, sent.subarray(start, end));
			source.look();
			start = end;
		}

		peer.end();
		const all = await received;
		t.true(sent.length - all.length < 5000, `seed ${seed}`);
		t.true(all.equals(sent.subarray(0, all.length)), `seed ${seed}`);
		direct.stream.destroy();
	});
}

test('a look finds what the event loop has not told of, and only for who waits', async t => {
	const {direct, peer, source} = await pair();
	await send(peer, Buffer.from('ab'));
	t.false(source.look(), 'nobody waits');
	const taken = source.take(3);
	t.false(source.look(), 'found');
	await setImmediate();
	t.true(source.look(), 'nothing there');
	await send(peer, Buffer.from('c'));
	t.false(source.look());
	t.is((await taken)!.toString(), 'abc');
	direct.stream.destroy();
	peer.destroy();
});

test('the end of the peer comes once, after everything that it has sent', async t => {
	const {direct, peer, source} = await pair();
	const ended = once(peer, 'finish');
	peer.end('abc');
	await ended;
	const taken = source.take(3);
	source.look();
	t.is((await taken)!.toString(), 'abc');
	const more = source.take(1);
	t.true(source.look(), 'an end is nothing to find');
	t.is(await more, undefined);
	t.false(await source.fill(Buffer.alloc(1), () => undefined));
	t.is(direct.send(Buffer.from('xyz')), 3, 'a peer that has ended its side still takes replies');
	peer.on('data', bytes => {
		t.is(bytes.toString(), 'xyz');
	});
	await once(peer, 'data');
	direct.stream.destroy();
});

test('a connection that is reset is an end, whoever finds it', async t => {
	for (const looks of [false, true]) {
		const {direct, peer, source} = await pair({host: '127.0.0.1'});
		const taken = source.take(1);
		const closed = new Promise(resolve => {
			direct.stream.once('close', resolve);
		});
		peer.resetAndDestroy();
		await once(peer, 'close');
		if (looks) {
			source.look();
		}

		t.is(await taken, undefined);
		direct.stream.destroy();
		await closed;
		t.is(direct.receive(Buffer.alloc(1), 0), 0);
		t.is(direct.send(Buffer.of(1)), 0);
	}
});

test('a socket that is full takes a part; the rest goes through the stream, in order', async t => {
	const {direct, peer} = await pair();
	const bytes = new SeededRandom(9).bytes(4_000_000);
	peer.pause();
	const count = direct.send(bytes);
	t.true(count > 0 && count < bytes.length);
	t.is(direct.send(bytes), 0);
	direct.stream.end(bytes.subarray(count));
	const parts: Buffer[] = [];
	peer.on('data', part => parts.push(part));
	peer.resume();
	await once(peer, 'end');
	t.true(Buffer.concat(parts).equals(bytes));
	direct.stream.destroy();
	peer.destroy();
});

test('what nobody takes stays in the socket beyond a bound', async t => {
	const {direct, peer, source} = await pair();
	const bytes = new SeededRandom(10).bytes(4 * receivedByteLengthMax);
	const sent = send(peer, bytes);
	for (let i = 0; i < 100; i++) {
		await setImmediate();
	}

	t.true(direct.stream.bytesRead < receivedByteLengthMax + 2 * memory.length);
	const all = Buffer.alloc(bytes.length);
	t.true(await source.fill(all, () => undefined));
	await sent;
	t.true(all.equals(bytes));
	direct.stream.destroy();
	peer.destroy();
});

test('after detaching, the source hears of nothing', async t => {
	const {direct, peer, source} = await pair();
	t.true(source.detach());
	await send(peer, Buffer.from('abc'));
	t.is(direct.receive(Buffer.alloc(8), 0), 3);
	t.is(await source.take(1), undefined);
	direct.stream.destroy();
	peer.destroy();
});
