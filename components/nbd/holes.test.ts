/** What clients are told of blocks that hold nothing. */
import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {encodeExtendedRequest} from '../../test/support/nbd-peer.js';
import {NbdStand} from '../../test/support/nbd-stand.js';

const KiB = 1024;
const MiB = 2 ** 20;

/** A device whose blocks 16 to 31 and 100 hold data. */
async function sparseStand(options: Parameters<typeof NbdStand.start>[0] = {}): Promise<NbdStand> {
	const stand = await NbdStand.start({blockCount: 1024, ...options});
	stand.medium.image.fill(1, 16 * 4096, 32 * 4096);
	stand.medium.image.fill(2, 100 * 4096, 101 * 4096);
	return stand;
}

/** Lengths and flags of a block status, in order. */
function extentsOf(data: Buffer): Array<[number, number]> {
	return Array.from({length: (data.length - 4) / 8}, (_, i) => [
		data.readUInt32BE(4 + 8 * i),
		data.readUInt32BE(8 + 8 * i),
	]);
}

const hole = 3;

test('block status tells holes from data, to the byte', async t => {
	const stand = await sparseStand();
	const peer = await stand.attach({context: true});
	const status = async (offset: number, length: number, flags = 0) => {
		peer.request({command: 7, offset, length, flags});
		return extentsOf((await peer.chunks())[0].data);
	};

	const whole: Array<[number, number]> = [
		[64 * KiB, hole],
		[64 * KiB, 0],
		[68 * 4096, hole],
		[4096, 0],
		[923 * 4096, hole],
	];
	t.deepEqual(await status(0, 4 * MiB), whole);
	t.deepEqual(await status(0, 4 * MiB, 8), [[64 * KiB, hole]], 'REQ_ONE');
	t.deepEqual(await status(64 * KiB - 1, 3), [
		[1, hole],
		[2, 0],
	]);
	t.deepEqual(await status(70_000, 1), [[1, 0]]);
	await peer.write(0, Buffer.alloc(4096, 1));
	peer.request({command: 4, offset: 16 * 4096, length: 16 * 4096});
	t.is((await peer.simpleReply()).error, 0);
	t.deepEqual(await status(0, 4 * MiB, 8), [[4096, 0]]);
	t.deepEqual(await status(4096, 4 * MiB - 4096, 8), [[99 * 4096, hole]]);
	await stand.stop();
});

test('answers of a device that looks at a part at a time are joined', async t => {
	const stand = await sparseStand();
	stand.allocationCountMax = 7;
	const peer = await stand.attach({context: true});
	peer.request({command: 7, length: 120 * 4096});
	t.deepEqual(extentsOf((await peer.chunks())[0].data), [
		[64 * KiB, hole],
		[64 * KiB, 0],
		[68 * 4096, hole],
		[4096, 0],
		[19 * 4096, hole],
	]);
	await stand.stop();
});

test('the more the extents the shorter the part that a reply tells of', async t => {
	const stand = await NbdStand.start({blockCount: 4096});
	for (let i = 0; i < 4096; i += 2) {
		stand.medium.image[i * 4096] = 1;
	}

	const peer = await stand.attach({context: true});
	peer.request({command: 7, length: 4096 * 4096});
	const extents = extentsOf((await peer.chunks())[0].data);
	t.is(extents.length, 1024);
	t.deepEqual(extents.slice(0, 2), [
		[4096, 0],
		[4096, hole],
	]);
	await stand.stop();
});

test('a read of much sends holes as holes, and does not read them', async t => {
	const stand = await sparseStand();
	const peer = await stand.attach();
	const reads: number[][] = [];
	const {handlers} = stand.medium;
	stand.medium.before = (operation, extents) => {
		if (operation === 'read') {
			reads.push([...extents]);
		}
	};
	t.truthy(handlers);
	peer.request({command: 0, length: 4 * MiB, cookie: 5});
	const chunks = await peer.chunks();
	t.deepEqual(
		chunks.filter(({type}) => type === 2).map(({data}) => [data.readUInt32BE(4), data.readUInt32BE(8)]),
		[
			[0, 64 * KiB],
			[128 * KiB, 68 * 4096],
			[101 * 4096, 923 * 4096],
		],
	);
	t.deepEqual(
		chunks.filter(({type}) => type === 1).map(({data}) => [data.readUInt32BE(4), data.length - 8]),
		[
			[64 * KiB, 64 * KiB],
			[100 * 4096, 4096],
		],
	);
	t.is(chunks.at(-1)!.done, true);
	t.deepEqual(reads, [
		[16, 16],
		[100, 1],
	]);
	t.true((await peer.read(1000, 3 * MiB)).equals(stand.medium.image.subarray(1000, 1000 + 3 * MiB)));
	peer.request({command: 0, offset: 2 * MiB, length: MiB});
	t.deepEqual(
		(await peer.chunks()).map(({type, done}) => ({type, done})),
		[{type: 2, done: true}],
	);
	await stand.stop();
});

test('reads of nothing but data are seldom asked about', async t => {
	const stand = await NbdStand.start({blockCount: 64});
	stand.medium.image.fill(1);
	const peer = await stand.attach();
	let questionCount = 0;
	stand.medium.before = operation => {
		questionCount += operation === 'allocation' ? 1 : 0;
	};
	for (let i = 0; i < 300; i++) {
		await peer.read(0, 64 * KiB);
	}

	t.true(questionCount < 12, `${questionCount} questions`);
	await stand.stop();
});

test('a failure to tell is the error of the request', async t => {
	const stand = await sparseStand();
	const peer = await stand.attach({context: true});
	stand.medium.before = operation => {
		if (operation === 'allocation') {
			throw new SessionError('integrity', 'on purpose');
		}
	};
	peer.request({command: 7, length: 4096});
	t.is(await peer.chunkError(), 5);
	await t.throwsAsync(peer.read(0, MiB), {message: 'read error 5'});
	t.is((await peer.read(0, 4096)).length, 4096);
	await stand.stop();
});

test('CACHE reads what is asked for, and sends nothing', async t => {
	const stand = await sparseStand();
	const peer = await stand.attach();
	let blockCount = 0;
	stand.medium.before = (operation, extents) => {
		blockCount += operation === 'read' ? extents[1] : 0;
	};
	peer.request({command: 5, length: 3 * MiB, cookie: 9});
	t.deepEqual(await peer.simpleReply(), {error: 0, cookie: 9});
	t.is(blockCount, (3 * MiB) / 4096);
	await stand.stop();
});

test('extended headers: everything is served with lengths of 64 bits', async t => {
	const stand = await sparseStand();
	const peer = await stand.attach({extended: true, context: true});
	t.is(await peer.write(5000, Buffer.alloc(3000, 7), 1 << 5), 0);
	t.is(await peer.write(8000, Buffer.alloc(192, 8)), 0, 'without the flag for payload');
	t.deepEqual(await peer.read(5000, 3192), Buffer.concat([Buffer.alloc(3000, 7), Buffer.alloc(192, 8)]));
	peer.request({command: 7, offset: 4096, length: 4 * MiB - 4096, cookie: 3});
	const [status] = await peer.chunks();
	t.is(status.type, 6);
	t.is(status.offset, 4096);
	t.is(status.data.readUInt32BE(4), 6);
	t.is(status.data.toString('hex', 8, 24), '00000000000010000000000000000000');
	peer.request({command: 6, length: 4 * MiB});
	t.is(await peer.chunkError(), 0);
	t.true(stand.medium.image.every(byte => byte === 0));
	peer.request({command: 0, length: MiB});
	t.deepEqual(
		(await peer.chunks()).map(({type, done, offset}) => ({type, done, offset})),
		[{type: 2, done: true, offset: 0}],
	);
	peer.request({command: 3});
	t.is(await peer.chunkError(), 0);
	peer.request({command: 4, length: 2 ** 40});
	t.is(await peer.chunkError(), 22);
	// Payload where none belongs is skipped.
	peer.send(encodeExtendedRequest({command: 7, flags: 1 << 5, payload: Buffer.alloc(5000)}));
	t.is(await peer.chunkError(), 22);
	t.is(await peer.write(0, Buffer.alloc(1, 1)), 0);
	await stand.stop();
});

test('extended headers are agreed on once, and structured replies no more after them', async t => {
	const stand = await sparseStand();
	const peer = await stand.connect();
	await peer.greet();
	t.deepEqual(
		(await peer.option({type: 11, data: Buffer.alloc(1)})).map(({type}) => type),
		[0x8000_0003],
	);
	t.deepEqual(
		(await peer.option({type: 11})).map(({type}) => type),
		[1],
	);
	t.deepEqual(
		(await peer.option({type: 11})).map(({type}) => type),
		[0x8000_0003],
	);
	t.deepEqual(
		(await peer.option({type: 8})).map(({type}) => type),
		[0x8000_000a],
	);
	peer.socket.destroy();
	await stand.stop();
});

test('requests of clients are counted, with their payload', async t => {
	const stand = await sparseStand();
	const peers = [await stand.attach({context: true}), await stand.attach()];
	await peers[0].write(0, Buffer.alloc(5000, 1));
	await peers[1].read(0, 3000);
	peers[0].request({command: 7, length: 4 * MiB});
	await peers[0].chunks();
	t.deepEqual(stand.component.running.served!(), {requests: 3, bytes: 8000});
	await stand.stop();
});
