import test from 'ava';
import {infoRequest, lengthAndText, uint16, uint32, uint64} from '../../test/support/nbd-peer.js';
import {NbdStand} from '../../test/support/nbd-stand.js';
import type {SnapshotDescription} from '../sessions/device-control.js';

const invalid = 0x8000_0003;
const unsupported = 0x8000_0001;
const unknownExport = 0x8000_0006;
const tooBig = 0x8000_0009;

test('the greeting offers the fixed newstyle handshake', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.connect();
	t.is((await peer.greet()).toString('hex'), `${Buffer.from('NBDMAGICIHAVEOPT').toString('hex')}0003`);
	await stand.stop();
});

test('unknown client flags end the connection', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.connect();
	await peer.greet(0xff);
	t.is((await peer.closed()).length, 0);
	await stand.stop();
});

test('EXPORT_NAME answers with size, flags and, where wanted, zeroes', async t => {
	const stand = await NbdStand.start({blockCount: 64});
	for (const [flags, zeroes] of [
		[1, 124],
		[3, 0],
	]) {
		const peer = await stand.connect();
		await peer.greet(flags);
		peer.sendOption({type: 1, data: Buffer.from('current')});
		const reply = await peer.take(10 + zeroes);
		t.deepEqual(reply.subarray(0, 8), uint64(64 * 4096));
		t.is(
			reply.readUInt16BE(8),
			0xd6d,
			'flags, flush, FUA, trim, zeroes, several connections, cache; no DF without structured replies',
		);
		t.is(await peer.write(0, Buffer.alloc(4096, 1)), 0);
	}

	await stand.stop();
});

test('EXPORT_NAME of an unknown export ends the connection: the protocol has no error there', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.connect();
	await peer.greet();
	peer.sendOption({type: 1, data: Buffer.from('nobody')});
	t.is((await peer.closed()).length, 0);
	await stand.stop();
});

test('INFO describes and stays in the handshake, GO leaves it', async t => {
	const stand = await NbdStand.start({blockCount: 64, config: {export: 'disk'}});
	const peer = await stand.connect();
	await peer.greet();
	await peer.option({type: 8});
	const replies = await peer.option({type: 6, data: infoRequest('', 1, 2, 3)});
	const infos = new Map(
		replies.filter(({type}) => type === 3).map(({data}) => [data.readUInt16BE(0), data.subarray(2)]),
	);
	t.deepEqual(infos.get(0), Buffer.concat([uint64(64 * 4096), uint16(0xded)]));
	t.deepEqual(infos.get(1), Buffer.from('disk'));
	t.deepEqual(infos.get(3), uint32(1, 4096, 32 * 2 ** 20));
	t.is(replies.at(-1)?.type, 1);
	const unknown = await peer.option({type: 7, data: infoRequest('current')});
	t.is(unknown.at(-1)?.type, unknownExport);
	await peer.option({type: 7, data: infoRequest('disk')});
	t.is((await peer.read(0, 4096)).length, 4096);
	await stand.stop();
});

test('LIST names the device and every snapshot that there is now', async t => {
	const snapshots: SnapshotDescription[] = [{generation: 4, blockCount: 8, keep: true}];
	const control = {
		list_snapshots: async () => ({snapshots}),
		read_snapshot: async ({data}: {data: Uint8Array}) => void data.fill(4),
	};
	const stand = await NbdStand.start({control});
	const peer = await stand.connect();
	await peer.greet();
	const names = async () =>
		(await peer.option({type: 3}))
			.filter(({type}) => type === 2)
			.map(({data}) => data.toString('utf8', 4, 4 + data.readUInt32BE(0)));
	t.deepEqual(await names(), ['current', 'snapshots/4']);
	snapshots.push({generation: 9, name: 'before upgrade', time: 1_767_323_045, blockCount: 8, keep: true});
	t.deepEqual(await names(), ['current', 'snapshots/4', 'snapshots/9', 'snapshots/before upgrade']);

	const named = await stand.connect();
	t.is((await named.attach({name: 'snapshots/before upgrade'})).byteLength, 8 * 4096);
	t.deepEqual(await named.read(0, 1), Buffer.alloc(1, 4));
	const reader = await stand.connect();
	const {byteLength, flags} = await reader.attach({name: 'snapshots/4'});
	t.is(byteLength, 8 * 4096);
	t.is(flags & 2, 2, 'read-only');
	t.deepEqual(await reader.read(100, 5000), Buffer.alloc(5000, 4));
	t.is(await reader.write(0, Buffer.alloc(4096)), 1, 'EPERM');
	t.deepEqual(await reader.read(0, 1), Buffer.alloc(1, 4), 'the refused payload was skipped');
	await stand.stop();
});

test('meta contexts: listed with wildcards, set only after structured replies, bound to their export', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.connect();
	await peer.greet();
	const query = (type: number, ...queries: string[]) => ({
		type,
		data: Buffer.concat([lengthAndText(''), uint32(queries.length), ...queries.map(lengthAndText)]),
	});
	const contexts = async (option: {type: number; data: Buffer}) =>
		(await peer.option(option)).map(({type, data}) => (type === 4 ? data.toString('utf8', 4) : type));
	t.deepEqual(await contexts(query(9)), ['base:allocation', 1]);
	t.deepEqual(await contexts(query(9, 'base:')), ['base:allocation', 1]);
	t.deepEqual(await contexts(query(9, 'qemu:')), [1]);
	t.deepEqual(await contexts(query(10, 'base:allocation')), [invalid]);
	await peer.option({type: 8});
	t.deepEqual(await contexts(query(10, 'base:')), [1]);
	t.deepEqual(await contexts(query(10, 'base:allocation', 'x:y')), ['base:allocation', 1]);
	await peer.option({type: 7, data: infoRequest('current')});
	peer.request({command: 7, length: 4096});
	const [chunk] = await peer.chunks();
	t.is(chunk.type, 0x8001, 'chosen for the export "", not for "current"');
	await stand.stop();
});

const malformed: Array<[string, {type: number; data: Buffer}, number]> = [
	['an unknown option', {type: 77, data: Buffer.from('x')}, unsupported],
	['STARTTLS', {type: 5, data: Buffer.alloc(0)}, unsupported],
	['LIST with data', {type: 3, data: Buffer.from('x')}, invalid],
	['STRUCTURED_REPLY with data', {type: 8, data: Buffer.from('x')}, invalid],
	['INFO without data', {type: 6, data: Buffer.alloc(0)}, invalid],
	['INFO whose name is longer than the option', {type: 6, data: uint32(1000)}, invalid],
	['INFO with bytes left over', {type: 6, data: Buffer.concat([infoRequest(''), Buffer.alloc(3)])}, invalid],
	[
		'INFO that announces more kinds than it has',
		{type: 6, data: Buffer.concat([lengthAndText(''), uint16(65_535)])},
		invalid,
	],
	["INFO with a name beyond the protocol's limit", {type: 6, data: infoRequest('n'.repeat(5000))}, invalid],
	[
		'LIST_META_CONTEXT that announces 4 billion queries',
		{type: 9, data: Buffer.concat([lengthAndText(''), uint32(0xffff_ffff)])},
		invalid,
	],
	['an option of 100 KiB', {type: 6, data: Buffer.alloc(100 * 1024)}, tooBig],
];

for (const [what, option, error] of malformed) {
	test(`${what} is refused, and the handshake goes on`, async t => {
		const stand = await NbdStand.start();
		const peer = await stand.connect();
		await peer.greet();
		t.deepEqual(
			(await peer.option(option)).map(({type}) => type),
			[error],
		);
		t.is((await peer.option({type: 7, data: infoRequest('')})).at(-1)?.type, 1);
		await stand.stop();
	});
}

test('an option that announces gigabytes ends the connection', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.connect();
	await peer.greet();
	peer.send(Buffer.from('IHAVEOPT'), uint32(6, 0xffff_ffff));
	t.is((await peer.closed()).length, 0);
	await stand.stop();
});

test('a wrong option magic ends the connection', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.connect();
	await peer.greet();
	peer.send(Buffer.from('IHAVEOPX'), uint32(6, 0));
	t.is((await peer.closed()).length, 0);
	await stand.stop();
});

test('ABORT is acknowledged and ends the connection', async t => {
	const stand = await NbdStand.start();
	const peer = await stand.connect();
	await peer.greet();
	t.deepEqual(
		(await peer.option({type: 2})).map(({type}) => type),
		[1],
	);
	t.is((await peer.closed()).length, 0);
	await stand.stop();
});
