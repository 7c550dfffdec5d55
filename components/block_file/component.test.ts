import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {startComponent, temporaryDirectory} from '../../test/support/component-stand.js';
import {block, blockSize} from '../sessions/block.js';
import blockFile from './component.js';

type Config = Readonly<Record<string, string>>;

async function open(stateDirectory: string, config: Config) {
	const stand = await startComponent(blockFile, {stateDirectory, config: {path: 'image', ...config}});
	return {stand, device: stand.client(block), stop: stand.running.stop!, file: join(stateDirectory, 'image')};
}

const one = (value: number) => Buffer.alloc(blockSize, value);

test('create="yes" leaves nothing on disk before the first grow, then a private sparse file', async t => {
	const {device, stop, file} = await open(temporaryDirectory(), {create: 'yes'});
	await device.sync({});
	t.false(fs.existsSync(file));
	await device.grow({blockCount: 100_000});
	const stat = fs.statSync(file);
	t.is(stat.mode & 0o777, 0o600);
	t.is(stat.size, 100_000 * blockSize);
	t.true(stat.blocks * 512 < 100 * blockSize);
	await stop();
});

test('an image that exists is never truncated, whatever size says', async t => {
	const directory = temporaryDirectory();
	fs.writeFileSync(join(directory, 'image'), Buffer.concat([one(1), one(2)]));
	const {device, stop, file} = await open(directory, {create: 'yes', size: '4096'});
	t.is((await device.geometry({})).blockCount, 2);
	await device.write({extents: [0, 1], data: one(9)});
	await device.sync({});
	await stop();
	t.deepEqual(fs.readFileSync(file), Buffer.concat([one(9), one(2)]));
});

test('a missing image without create="yes" is refused with what to do, and none is made', async t => {
	const directory = temporaryDirectory();
	await t.throwsAsync(open(directory, {}), {
		name: 'StartError',
		message: /image .*\/image does not exist; .*create="yes"/,
	});
	t.deepEqual(fs.readdirSync(directory), []);
});

test('bytes behind the last whole block are left alone, with a warning', async t => {
	const directory = temporaryDirectory();
	fs.writeFileSync(join(directory, 'image'), Buffer.alloc(blockSize + 100, 5));
	const {stand, device, stop, file} = await open(directory, {});
	t.is((await device.geometry({})).blockCount, 1);
	t.regex(stand.log[0].text, /last 100 bytes/);
	await device.write({extents: [0, 1], data: one(6)});
	await stop();
	t.deepEqual(fs.readFileSync(file).subarray(blockSize), Buffer.alloc(100, 5));
});

test('readonly="yes" reads and refuses writes and growth', async t => {
	const directory = temporaryDirectory();
	fs.writeFileSync(join(directory, 'image'), one(3), {mode: 0o400});
	const {device, stop} = await open(directory, {readonly: 'yes'});
	t.deepEqual(await device.geometry({}), {blockCount: 1, writable: false, growable: false});
	const data = one(0);
	await device.read({extents: [0, 1], data});
	t.deepEqual(data, one(3));
	await t.throwsAsync(device.write({extents: [0, 1], data}), {code: 'read_only'});
	await t.throwsAsync(device.grow({blockCount: 2}), {code: 'read_only'});
	await device.sync({});
	await stop();
});

test('one image serves one component at a time', async t => {
	const directory = temporaryDirectory();
	const first = await open(directory, {create: 'yes', size: '8192'});
	await t.throwsAsync(open(directory, {}), {name: 'StartError', message: /in use by another runtime/});
	await first.stop();
	const second = await open(directory, {});
	t.is((await second.device.geometry({})).blockCount, 2);
	await second.stop();
});

test('a directory is no image', async t => {
	const directory = temporaryDirectory();
	fs.mkdirSync(join(directory, 'image'));
	await t.throwsAsync(open(directory, {}), {name: 'StartError', message: /it is a directory/});
	await t.throwsAsync(open(directory, {readonly: 'yes'}), {
		name: 'StartError',
		message: /neither a file nor a block device/,
	});
});

test('a file larger than the host can hold is no_space, and the image stays usable', async t => {
	const {device, stop} = await open(temporaryDirectory(), {create: 'yes', size: '8192'});
	await t.throwsAsync(device.grow({blockCount: 2 ** 40}), {code: 'no_space', message: /EFBIG/});
	await device.write({extents: [1, 1], data: one(1)});
	t.is((await device.geometry({})).blockCount, 2);
	await stop();
});

test('a file truncated from outside fails instead of returning something', async t => {
	const {device, stop, file} = await open(temporaryDirectory(), {create: 'yes', size: '8192'});
	fs.truncateSync(file, blockSize);
	await t.throwsAsync(device.read({extents: [1, 1], data: one(0)}), {
		code: 'device_failed',
		message: /truncated from outside/,
	});
	await stop();
});

test('what is cleared takes no room on the host any more, and the size stays', async t => {
	const {device, stop, file} = await open(temporaryDirectory(), {create: 'yes', size: '4M'});
	await device.write({extents: [0, 1024], data: Buffer.alloc(1024 * blockSize, 1)});
	await device.sync({});
	const before = fs.statSync(file);
	await device.clear({extents: [0, 512, 768, 256]});
	await device.sync({});
	const after = fs.statSync(file);
	t.is(after.size, before.size);
	t.true(after.blocks <= before.blocks / 2, `${before.blocks} sectors, then ${after.blocks}`);
	await stop();
});

test('a read-only image is not cleared', async t => {
	const directory = temporaryDirectory();
	fs.writeFileSync(join(directory, 'image'), one(3));
	const {device, stop} = await open(directory, {readonly: 'yes'});
	await t.throwsAsync(device.clear({extents: [0, 1]}), {code: 'read_only'});
	await stop();
});

test('contradictions in the configuration are refused', t => {
	t.false(blockFile.config.safeParse({}).success);
	t.false(blockFile.config.safeParse({path: 'x', create: 'yes', readonly: 'yes'}).success);
	t.false(blockFile.config.safeParse({path: 'x', size: '1M'}).success);
	t.false(blockFile.config.safeParse({path: 'x', create: 'yes', size: 'many'}).success);
});

test('a failure that comes again and again, wherever, is logged once a minute', async t => {
	let nowMs = 0;
	const stand = await startComponent(blockFile, {
		config: {path: 'image', create: 'yes', size: String(8 * blockSize)},
		environment: {now: () => nowMs},
		stateDirectory: temporaryDirectory(),
	});
	const device = stand.client(block);
	fs.truncateSync(String(stand.running.status?.().path), blockSize);
	for (const address of [1, 2, 3]) {
		await t.throwsAsync(device.read({extents: [address, 1], data: one(0)}), {code: 'device_failed'});
	}

	t.deepEqual(
		stand.log.map(({text}) => text.replace(/reading .*ended/, 'reading ended')),
		['reading ended at byte 4096: the file was truncated from outside'],
	);
	nowMs = 60_000;
	await t.throwsAsync(device.read({extents: [4, 1], data: one(0)}), {code: 'device_failed'});
	t.is(stand.log.length, 2);
	await stand.running.stop?.();
});

test('an image that was removed while it is in use is told of at a sync', async t => {
	let nowMs = 0;
	const stand = await startComponent(blockFile, {
		config: {path: 'image', create: 'yes', size: '4096'},
		environment: {now: () => nowMs},
		stateDirectory: temporaryDirectory(),
	});
	fs.rmSync(String(stand.running.status?.().path));
	nowMs = 5000;
	await stand.client(block).sync({});
	t.regex(
		stand.log.map(({text, level}) => `${level}: ${text}`).join('\n'),
		/^error: .*\/image was removed, or another file was put in its place; .*: copy the device while it runs$/,
	);
	await stand.running.stop?.();
});

test('bytes behind the last whole block are never grown over, unless they are zero', async t => {
	for (const content of [Buffer.from('root:x:0:0\n'), Buffer.concat([one(0), Buffer.alloc(99), Buffer.from('x')])]) {
		const directory = temporaryDirectory();
		fs.writeFileSync(join(directory, 'image'), content);
		const {device, stop, file} = await open(directory, {create: 'yes'});
		await t.throwsAsync(device.grow({blockCount: 8}), {
			code: 'no_space',
			message: /bytes of .*\/image are no whole block, and are not empty; .*: give the path of another image/,
		});
		await stop();
		t.deepEqual(fs.readFileSync(file), content);
	}

	const directory = temporaryDirectory();
	fs.writeFileSync(join(directory, 'image'), Buffer.alloc(100));
	const {device, stop, file} = await open(directory, {});
	await device.grow({blockCount: 8});
	await stop();
	t.deepEqual(fs.readFileSync(file), Buffer.alloc(8 * blockSize));
});

test('an image that was found empty has the size of one that is made: whoever confines the component has made the file', async t => {
	const directory = temporaryDirectory();
	fs.writeFileSync(join(directory, 'image'), '');
	const {device, stop, file} = await open(directory, {create: 'yes', size: '16384'});
	t.is((await device.geometry({})).blockCount, 4);
	t.is(fs.statSync(file).size, 16384);
	await stop();
});

test('a client whose policy says so may only read; all others do what they like', async t => {
	const directory = temporaryDirectory();
	const open = async (label: string) =>
		startComponent(blockFile, {
			stateDirectory: directory,
			config: {path: 'image', create: 'yes', size: '16384', policy: [{label, readonly: 'yes'}]},
		});
	const stand = await open('test');
	const reader = stand.client(block);
	t.deepEqual(await reader.geometry({}), {blockCount: 4, writable: false, growable: false});
	const changes = [
		() => reader.write({extents: [0, 1], data: one(1)}),
		() => reader.clear({extents: [0, 1]}),
		() => reader.allocate({extents: [0, 1]}),
		() => reader.grow({blockCount: 8}),
	];
	for (const change of changes) {
		await t.throwsAsync(change(), {code: 'read_only', message: /may only be read by "test"$/});
	}

	const data = one(9);
	await reader.read({extents: [0, 1], data});
	t.deepEqual(data, one(0));
	await reader.sync({});
	await stand.running.stop!();

	const other = (await open('somebody else')).client(block);
	t.like(await other.geometry({}), {writable: true, growable: true});
	await other.write({extents: [0, 1], data: one(1)});
});
