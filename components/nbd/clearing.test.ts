import path from 'node:path';
import test from 'ava';
import {startComponent, temporaryDirectory} from '../../test/support/component-stand.js';
import {runTool, testWith} from '../../test/support/external-tools.js';
import {NbdPeer} from '../../test/support/nbd-peer.js';
import blockRam from '../block_ram/component.js';
import blockTrace from '../block_trace/component.js';
import {block} from '../sessions/block.js';
import nbd from './component.js';

const MiB = 2 ** 20;
const trim = 4;
const writeZeroes = 6;
const flags = {fua: 1, noHole: 2, fastZero: 16};

/** A server over a device in memory, and what passes between them. */
async function serve({size = MiB, config = {}}: {size?: number; config?: Readonly<Record<string, string>>} = {}) {
	const medium = await startComponent(blockRam, {config: size === 0 ? {} : {size: String(size)}});
	const trace = await startComponent(blockTrace, {config: {every: '1'}, sessions: {backend: medium.client(block)}});
	const socketPath = path.join(temporaryDirectory(), 'nbd.sock');
	const server = await startComponent(nbd, {
		config: {unix: [{path: socketPath}], ...config},
		sessions: {device: trace.client(block)},
	});
	let seenCount = 0;
	return {
		uri: `nbd+unix:///?socket=${socketPath}`,
		medium: medium.client(block),
		/** Requests to the device since the last look, as `clear 3 blocks at 1+3`. */
		seen() {
			const lines = trace.log.slice(seenCount).map(({text}) => text.replace(/ in [\d.]+ ms.*$/, ''));
			seenCount = trace.log.length;
			return lines;
		},
		async attach() {
			const peer = await NbdPeer.connect(socketPath);
			return {peer, ...(await peer.attach())};
		},
		stop: async () => server.running.stop!(),
	};
}

async function ask(peer: NbdPeer, command: number, offset: number, length: number, requestFlags = 0): Promise<number> {
	peer.request({command, offset, length, flags: requestFlags});
	return (await peer.simpleReply()).error;
}

test('a writable export offers TRIM, WRITE_ZEROES and FAST_ZERO, a read-only one does not and refuses them', async t => {
	const offered = (1 << 5) | (1 << 6) | (1 << 11);
	const writable = await serve();
	t.is((await writable.attach()).flags & offered, offered);
	await writable.stop();
	const readOnly = await serve({config: {readonly: 'yes'}});
	const {peer, flags: seenFlags} = await readOnly.attach();
	t.is(seenFlags & offered, 0);
	t.is(await ask(peer, trim, 0, 4096), 1);
	t.is(await ask(peer, writeZeroes, 0, 4096), 1);
	await readOnly.stop();
});

test('TRIM clears whole blocks and leaves the edges alone', async t => {
	const {attach, seen, stop} = await serve();
	const {peer} = await attach();
	t.is(await peer.write(0, Buffer.alloc(8 * 4096, 5)), 0);
	seen();
	t.is(await ask(peer, trim, 4000, 3 * 4096), 0);
	t.deepEqual(seen(), ['clear 2 blocks at 1+2']);
	t.deepEqual(
		await peer.read(0, 4 * 4096),
		Buffer.concat([Buffer.alloc(4096, 5), Buffer.alloc(2 * 4096), Buffer.alloc(4096, 5)]),
	);
	seen();
	t.is(await ask(peer, trim, 4097, 4095), 0);
	t.is(await ask(peer, trim, 4097, 0), 0);
	t.deepEqual(seen(), [], 'no whole block lies in these');
	await stop();
});

test('WRITE_ZEROES clears whole blocks and writes the edges', async t => {
	const {attach, seen, stop} = await serve();
	const {peer} = await attach();
	t.is(await peer.write(0, Buffer.alloc(8 * 4096, 5)), 0);
	seen();
	t.is(await ask(peer, writeZeroes, 4000, 3 * 4096), 0);
	t.true(seen().includes('clear 2 blocks at 1+2'));
	const expected = Buffer.alloc(8 * 4096, 5).fill(0, 4000, 4000 + 3 * 4096);
	t.true((await peer.read(0, 8 * 4096)).equals(expected));
	t.is(await ask(peer, writeZeroes, 20_001, 1), 0);
	expected[20_001] = 0;
	t.true((await peer.read(0, 8 * 4096)).equals(expected));
	t.is(await ask(peer, writeZeroes, 0, 0), 0);
	await stop();
});

test('with NO_HOLE zeroes are written; together with FAST_ZERO that is not supported', async t => {
	const {attach, seen, stop} = await serve({size: 4 * MiB});
	const {peer} = await attach();
	t.is(await peer.write(0, Buffer.alloc(3 * MiB, 5)), 0);
	seen();
	t.is(await ask(peer, writeZeroes, 100, 2 * MiB, flags.noHole), 0);
	t.false(seen().some(line => line.startsWith('clear')));
	t.true((await peer.read(0, 3 * MiB)).equals(Buffer.alloc(3 * MiB, 5).fill(0, 100, 100 + 2 * MiB)));
	t.is(await ask(peer, writeZeroes, 0, 4096, flags.noHole | flags.fastZero), 95);
	t.is(await ask(peer, writeZeroes, 0, 4096, flags.fastZero), 0);
	await stop();
});

test('FUA makes the change durable before the reply', async t => {
	const {attach, seen, stop} = await serve();
	const {peer} = await attach();
	for (const command of [trim, writeZeroes]) {
		t.is(await ask(peer, command, 0, 4096, flags.fua), 0);
		t.deepEqual(seen(), ['clear 1 block at 0', 'sync']);
	}

	await stop();
});

test('beyond the end TRIM is invalid and WRITE_ZEROES has no space, and flags of other commands are invalid', async t => {
	const {attach, seen, stop} = await serve();
	const {peer} = await attach();
	seen();
	t.is(await ask(peer, trim, MiB - 4096, 4097), 22);
	t.is(await ask(peer, writeZeroes, MiB - 4096, 4097), 28);
	t.is(await ask(peer, trim, 0, 4096, flags.noHole), 22);
	t.deepEqual(seen(), []);
	await stop();
});

test('one request may clear more than fits in memory', async t => {
	const {attach, seen, stop} = await serve({size: 8 * 1024 * MiB});
	const {peer} = await attach();
	const last = 3072 * MiB;
	t.is(await peer.write(last - 4096, Buffer.alloc(8192, 5)), 0);
	seen();
	t.is(await ask(peer, trim, 0, last), 0);
	t.deepEqual(
		seen(),
		[`clear ${last / 4096} blocks at 0+${last / 4096}`],
		'in one piece: it costs what has content, not what it is long',
	);
	t.deepEqual(await peer.read(last - 4096, 8192), Buffer.concat([Buffer.alloc(4096), Buffer.alloc(4096, 5)]));
	await stop();
});

test('connections made after the device has grown see its new size', async t => {
	const {attach, medium, stop} = await serve({size: 0});
	await medium.grow({blockCount: 10});
	const early = await attach();
	t.is(early.byteLength, 10 * 4096);
	await medium.grow({blockCount: 20});
	const late = await attach();
	t.is(late.byteLength, 20 * 4096);
	t.is(await late.peer.write(15 * 4096, Buffer.alloc(4096, 1)), 0);
	t.is(await early.peer.write(15 * 4096, Buffer.alloc(4096, 1)), 28, 'the old connection keeps its size');
	await stop();
});

testWith(['qemu-io'], 'qemu-io: discard and zeroes, with and without holes', async t => {
	const {uri, stop} = await serve({size: 8 * MiB});
	const commands = [
		'write -P 0x11 0 4M',
		'discard 1M 1M',
		'read -P 0x11 0 1M',
		'read -P 0 1M 1M',
		'read -P 0x11 2M 2M',
		'write -z -u 2M 512k',
		'read -P 0 2M 512k',
		'read -P 0x11 2560k 512k',
		'write -z 3M 4097',
		'read -P 0 3M 4097',
		'read -P 0x11 3149825 1000',
	];
	const output = await runTool('qemu-io', [
		'-f',
		'raw',
		'-d',
		'unmap',
		...commands.flatMap(command => ['-c', command]),
		uri,
	]);
	t.notRegex(output, /verification failed|error|Invalid/i);
	await stop();
});

testWith(['nbdcopy', 'cmp', 'truncate'], 'nbdcopy: holes of the source are cleared at the destination', async t => {
	const {uri, medium, seen, stop} = await serve({size: 8 * MiB});
	const folder = temporaryDirectory();
	const [source, copy] = [path.join(folder, 'source'), path.join(folder, 'copy')];
	await medium.write({extents: [0, 2048], data: Buffer.alloc(8 * MiB, 7)});
	await runTool('truncate', ['-s', '8M', source]);
	seen();
	await runTool('nbdcopy', [source, uri]);
	t.true(seen().some(line => line.startsWith('clear ')));
	await runTool('nbdcopy', [uri, copy]);
	await runTool('cmp', [source, copy]);
	await stop();
});
