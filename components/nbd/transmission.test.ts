import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {SeededRandom} from '../../test/support/seeded-random.js';
import {encodeRequest} from '../../test/support/nbd-peer.js';
import {NbdStand} from '../../test/support/nbd-stand.js';
import {requestCountMax} from './client-limits.js';

const MiB = 2 ** 20;

/** A gate that stays shut until it is opened. */
function heldGate() {
	let open: () => void = () => undefined;
	const opened = new Promise<void>(resolve => {
		open = resolve;
	});
	return {opened, open};
}

test('simple replies where structured ones were not negotiated', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach({structured: false});
	t.is(await peer.write(4096, Buffer.alloc(4096, 7)), 0);
	peer.request({command: 0, offset: 4000, length: 200, cookie: 42});
	t.deepEqual(await peer.simpleReply(), {error: 0, cookie: 42});
	t.deepEqual(await peer.take(200), Buffer.concat([Buffer.alloc(96), Buffer.alloc(104, 7)]));
	await stand.stop();
});

test('a read beyond the end is invalid, a write there has no space, and both leave the stream in step', async t => {
	const stand = await NbdStand.start({blockCount: 4});
	const peer = await stand.attach();
	await t.throwsAsync(peer.read(4 * 4096 - 1, 2), {message: 'read error 22'});
	t.is(await peer.write(4 * 4096 - 1, Buffer.alloc(2)), 28);
	await t.throwsAsync(peer.read(Number.MAX_SAFE_INTEGER, 1), {message: 'read error 22'});
	t.is((await peer.read(0, 1)).length, 1);
	await stand.stop();
});

test('requests of no length succeed', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	t.is((await peer.read(5, 0)).length, 0);
	t.is(await peer.write(5, Buffer.alloc(0)), 0);
	await stand.stop();
});

test('requests above 32 MiB are invalid; their payload is skipped', async t => {
	const stand = await NbdStand.start({blockCount: 16 * 1024});
	const peer = await stand.attach();
	await t.throwsAsync(peer.read(0, 32 * MiB + 1), {message: 'read error 22'});
	t.is(await peer.write(0, Buffer.alloc(32 * MiB + 1, 1)), 22);
	t.deepEqual(await peer.read(0, 10), Buffer.alloc(10));
	await stand.stop();
});

test('requests of 32 MiB work, aligned or not', async t => {
	const stand = await NbdStand.start({blockCount: 16 * 1024});
	const peer = await stand.attach();
	const payload = new SeededRandom(3).bytes(MiB);
	const large = Buffer.concat(Array.from({length: 32}, () => payload));
	for (const offset of [0, 4096, 1000]) {
		t.is(await peer.write(offset, large), 0);
		t.true(stand.medium.image.subarray(offset, offset + large.length).equals(large));
		t.true((await peer.read(offset, large.length)).equals(large));
		t.true((await peer.read(offset, large.length, 4)).equals(large), 'unfragmented');
	}

	await stand.stop();
});

test('DF gets one content chunk', async t => {
	const stand = await NbdStand.start({blockCount: 1024});
	const peer = await stand.attach();
	peer.request({command: 0, length: 3 * MiB, flags: 4});
	const [chunk, ...more] = await peer.chunks();
	t.is(more.length, 0);
	t.deepEqual(
		{type: chunk.type, done: chunk.done, length: chunk.data.length},
		{type: 1, done: true, length: 3 * MiB + 8},
	);
	await stand.stop();
});

test('block status needs its context, and a length', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach({context: true});
	peer.request({command: 7, offset: 4096, length: 8192, flags: 8, cookie: 6});
	const [chunk] = await peer.chunks();
	t.is(chunk.type, 5);
	t.is(chunk.cookie, 6);
	t.deepEqual(chunk.data, Buffer.from('000000010000200000000003', 'hex'));
	const other = await stand.attach();
	other.request({command: 7, offset: 4096, length: 8192});
	t.is(await other.chunkError(), 22);
	peer.request({command: 7, offset: 4096, length: 0});
	t.is((await peer.chunks())[0].type, 0x8001);
	await stand.stop();
});

const wrong: Array<[string, {command: number; flags?: number; offset?: number; length?: number}]> = [
	['an unknown command', {command: 99}],
	['CACHE beyond the end', {command: 5, offset: 64 * 4096, length: 1}],
	['TRIM with a flag of another command', {command: 4, length: 4096, flags: 4}],
	['a flush with a length', {command: 3, length: 1}],
	['a flush with an unknown flag', {command: 3, flags: 0x100}],
];

for (const [what, request] of wrong) {
	test(`${what} is invalid`, async t => {
		const stand = await NbdStand.start();
		const peer = await stand.attach();
		peer.request(request);
		t.is((await peer.simpleReply()).error, 22);
		t.is(await peer.write(0, Buffer.alloc(4096)), 0);
		await stand.stop();
	});
}

test('a wrong request magic ends the connection', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	peer.request({command: 0, length: 10, magic: 0x1234_5678});
	t.is((await peer.closed()).length, 0);
	await stand.stop();
});

test('FUA replies after a sync that follows the write', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	const operations: string[] = [];
	stand.gate = async operation => void operations.push(operation);
	t.is(await peer.write(0, Buffer.alloc(8192), 1), 0);
	t.deepEqual(operations, ['write', 'sync']);
	await stand.stop();
});

const faults: Array<[ConstructorParameters<typeof SessionError>[0], number]> = [
	['no_space', 28],
	['device_failed', 5],
	['integrity', 5],
	['read_only', 1],
	['out_of_range', 22],
	['bad_request', 5],
];

for (const [code, error] of faults) {
	test(`${code} of the device becomes error ${error}`, async t => {
		const stand = await NbdStand.start();
		const peer = await stand.attach();
		stand.gate = async () => {
			throw new SessionError(code, 'on purpose');
		};
		t.is(await peer.write(0, Buffer.alloc(4096)), error);
		await t.throwsAsync(peer.read(0, 4096), {message: `read error ${error}`});
		await t.throwsAsync(peer.read(0, 4097), {message: `read error ${error}`});
		peer.request({command: 3});
		t.is((await peer.simpleReply()).error, error);
		stand.gate = async () => undefined;
		t.is(await peer.write(1, Buffer.alloc(4096)), 0);
		await stand.stop();
	});
}

test('a lost session answers with ESHUTDOWN and ends the connection', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	stand.gate = async () => {
		throw new SessionError('session_lost', 'gone');
	};
	t.is(await peer.write(0, Buffer.alloc(4096)), 108);
	t.is((await peer.closed()).length, 0);
	stand.gate = async () => undefined;
	await stand.stop();
});

test('a reset of the device ends connections, after what they had accepted', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	const {opened, open} = heldGate();
	const reached = new Promise<void>(resolve => {
		stand.gate = async () => {
			resolve();
			return opened;
		};
	});
	peer.request({command: 1, payload: Buffer.alloc(4096)});
	await reached;
	await stand.component.running.interrupted!.device!('reset');
	open();
	t.is((await peer.simpleReply()).error, 0);
	t.is((await peer.closed()).length, 0);
	t.regex(stand.component.log.map(({text}) => text).join('\n'), /closing 1 connections/);
	await stand.stop();
});

test('a restarted device is nothing to clients', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	await stand.component.running.interrupted!.device!('restarted');
	t.is(await peer.write(0, Buffer.alloc(4096)), 0);
	await stand.stop();
});

test('partial writes to one block from two connections do not undo each other', async t => {
	const stand = await NbdStand.start();
	const peers = [await stand.attach(), await stand.attach()];
	// Every operation takes a turn of the event loop, so that reads and writes of different requests interleave.
	stand.gate = async () =>
		new Promise(resolve => {
			setImmediate(resolve);
		});
	for (let i = 0; i < 64; i++) {
		peers[i % 2].request({command: 1, offset: 4096 + i * 64, payload: Buffer.alloc(64, i + 1), cookie: i});
	}

	for (const peer of peers) {
		for (let i = 0; i < 32; i++) {
			t.is((await peer.simpleReply()).error, 0);
		}
	}

	for (let i = 0; i < 64; i++) {
		t.is(stand.medium.image[4096 + i * 64], i + 1);
	}

	await stand.stop();
});

test('random requests of any alignment behave like an array of bytes', async t => {
	const seed = Number(process.env.CBE_TEST_SEED ?? 77);
	const random = new SeededRandom(seed);
	const stand = await NbdStand.start({blockCount: 32});
	const peer = await stand.attach();
	const model = Buffer.alloc(32 * 4096);
	for (let round = 0; round < 400; round++) {
		const offset = random.below(model.length);
		const length = 1 + random.below(Math.min(random.below(4) === 0 ? 40_000 : 3000, model.length - offset));
		if (random.below(2) === 0) {
			const payload = Buffer.alloc(length, random.below(256));
			t.is(await peer.write(offset, payload), 0);
			model.set(payload, offset);
		} else if (!(await peer.read(offset, length)).equals(model.subarray(offset, offset + length))) {
			t.fail(`seed ${seed}, round ${round}`);
		}
	}

	t.true(stand.medium.image.equals(model), `seed ${seed}`);
	await stand.stop();
});

test('requests cut into single bytes and requests glued together are the same', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	const wire = Buffer.concat(
		[1, 2, 3].map(value =>
			encodeRequest({command: 1, offset: value * 100, cookie: value, payload: Buffer.alloc(100, value)}),
		),
	);
	for (const byte of wire) {
		peer.send(Buffer.of(byte));
	}

	peer.send(wire);
	for (let i = 0; i < 6; i++) {
		t.is((await peer.simpleReply()).error, 0);
	}

	t.deepEqual(await peer.read(100, 300), Buffer.concat([1, 2, 3].map(value => Buffer.alloc(100, value))));
	await stand.stop();
});

test('a client that sends requests without end has only so many served at once', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	const {opened, open} = heldGate();
	let running = 0;
	const full = new Promise<void>(resolve => {
		stand.gate = async () => {
			running++;
			if (running === requestCountMax) {
				resolve();
			}

			return opened;
		};
	});
	const total = requestCountMax * 3;
	peer.send(
		...Array.from({length: total}, (_, cookie) => encodeRequest({command: 0, offset: 0, length: 4096, cookie})),
	);
	await full;
	// Whatever the reader still does, it does in the turns of the loop that follow.
	for (let i = 0; i < 50; i++) {
		await new Promise(resolve => {
			setImmediate(resolve);
		});
	}

	t.is(running, requestCountMax);
	open();
	for (let i = 0; i < total; i++) {
		await peer.chunks();
	}

	t.is(running, total);
	await stand.stop();
});

test('memory for large reads is bounded, and all of it comes back', async t => {
	const stand = await NbdStand.start({blockCount: 4096, leaseLimit: 16 * MiB});
	stand.medium.image.fill(1);
	const peer = await stand.attach();
	const {pool} = stand.component;
	const before = pool.usedBytes;
	peer.socket.pause();
	peer.send(...Array.from({length: 64}, (_, cookie) => encodeRequest({command: 0, length: 4 * MiB, cookie})));
	const other = await stand.attach();
	t.is(await other.write(0, Buffer.alloc(4096, 2)), 0, 'a client that does not read its replies stops nobody else');
	t.true(pool.usedBytes <= 16 * MiB);
	peer.socket.resume();
	for (let i = 0; i < 64; i++) {
		t.is(
			(await peer.chunks()).reduce((sum, {data}) => sum + data.length - 8, 0),
			4 * MiB,
		);
	}

	await stand.stop();
	t.is(pool.usedBytes, before);
});

test('a client that breaks off in the middle of anything leaves nothing behind', async t => {
	const stand = await NbdStand.start({blockCount: 4096});
	const {pool} = stand.component;
	const before = pool.usedBytes;
	const write = encodeRequest({command: 1, payload: Buffer.alloc(3 * MiB)});
	for (const length of [1, 27, 28, 29, 5000, 2 * MiB + 5]) {
		const peer = await stand.attach();
		peer.send(write.subarray(0, length));
		peer.socket.end();
		await peer.closed();
	}

	const reader = await stand.attach();
	reader.send(...Array.from({length: 20}, () => encodeRequest({command: 0, length: 8 * MiB})));
	await reader.take(100);
	reader.socket.destroy();
	await stand.stop();
	t.is(pool.usedBytes, before);
});

test('DISCONNECT is answered by the end, after the replies that are due', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.attach();
	peer.send(encodeRequest({command: 1, payload: Buffer.alloc(4096), cookie: 1}), encodeRequest({command: 2}));
	t.is((await peer.simpleReply()).error, 0);
	t.is((await peer.closed()).length, 0);
	await stand.stop();
});
