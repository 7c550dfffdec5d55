/**
 * The flush log as a user of the device meets it: flushes that survive crashes, and logs that do not fit the trust
 * anchor.
 */
import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {crash, filled, openDevice} from '../../test/support/device-stand.js';
import {runTool} from '../../test/support/tool-run.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import cbeCheck from '../cbe_check/component.js';
import cbeDump from '../cbe_dump/component.js';
import {decodeSuperblock} from '../lib/format/superblock-codec.js';
import {blockSize} from '../sessions/block.js';

async function valueAt(
	device: {read(request: {extents: number[]; data: Uint8Array}): Promise<unknown>},
	vba: number,
): Promise<number> {
	const data = filled(1, 0xee);
	await device.read({extents: [vba, 1], data});
	return data.every(byte => byte === data[0]) ? data[0] : -1;
}

for (const cipher of ['aes-256-xts', 'aes-256-gcm']) {
	test(`${cipher}: flushed writes survive a crash without a superblock of their own`, async t => {
		const state = temporaryDirectory();
		const first = await openDevice(state, {shape: {cipher}});
		await first.device.write({extents: [0, 100], data: filled(100, 1)});
		await first.control.create_snapshot({});
		const generation = await first.generation();
		for (let value = 2; value < 7; value++) {
			await first.device.write({extents: [value, 2], data: filled(2, value)});
			await first.device.write({extents: [500 + value, 1], data: filled(1, value)});
			await first.device.sync({});
		}

		await first.device.write({extents: [60, 1], data: filled(1, 99)});
		t.is(await first.generation(), generation, 'no superblock was secured');
		const remains = crash(state);
		await first.stop();

		const second = await openDevice(remains, {shape: {cipher}});
		t.true(second.texts().some(text => /took over 5 entries of the flush log/.test(text)));
		t.deepEqual(
			await Promise.all([1, 2, 5, 6, 7, 8, 60, 503, 506, 507].map(async vba => valueAt(second.device, vba))),
			[1, 2, 5, 6, 6, 1, 1, 3, 6, 0],
		);
		const {snapshots} = await second.control.list_snapshots({});
		const old = filled(1, 0xee);
		await second.control.read_snapshot({generation: snapshots[0].generation, extents: [5, 1], data: old});
		t.true(old.equals(filled(1, 1)));
		await second.stop();

		// What was taken over is part of the trees now, and there is nothing left to take over.
		const third = await openDevice(remains, {shape: {cipher}});
		t.false(third.texts().some(text => /flush log/.test(text)));
		t.is(await valueAt(third.device, 6), 6);
		await third.stop();
	});
}

test('a flush takes along the writes that came with it, so that the next one has nothing to do', async t => {
	const state = temporaryDirectory();
	const {device, stop} = await openDevice(state);
	await device.write({extents: [1, 1], data: filled(1, 1)});
	const flushed = device.sync({});
	const written = [2, 3, 4].map(async vba => device.write({extents: [vba, 1], data: filled(1, vba)}));
	await flushed;
	const remains = crash(state);
	await Promise.all(written);
	await device.sync({});
	const later = crash(state);
	await stop();
	for (const crashed of [remains, later]) {
		const opened = await openDevice(crashed);
		t.true(opened.texts().some(text => /took over 1 entry of the flush log/.test(text)));
		t.deepEqual(await Promise.all([1, 2, 3, 4].map(async vba => valueAt(opened.device, vba))), [1, 2, 3, 4]);
		await opened.stop();
	}
});

test('a block that was flushed is never overwritten before the next superblock', async t => {
	const state = temporaryDirectory();
	const {device, stop} = await openDevice(state);
	const remains: string[] = [];
	for (let value = 1; value < 6; value++) {
		await device.write({extents: [3, 1], data: filled(1, value)});
		await device.sync({});
		await device.write({extents: [3, 1], data: filled(1, 100 + value)});
		remains.push(crash(state));
	}

	await stop();
	for (const [i, directory] of remains.entries()) {
		const opened = await openDevice(directory);
		t.is(await valueAt(opened.device, 3), i + 1);
		await opened.stop();
	}
});

test('a log that is full ends in a superblock, and begins anew', async t => {
	const {device, generation, stop} = await openDevice(temporaryDirectory(), {shape: {flush_log_blocks: '2'}});
	await device.write({extents: [0, 1], data: filled(1, 9)});
	await device.sync({});
	const begin = await generation();
	const generations: number[] = [];
	for (let i = 0; i < 6; i++) {
		await device.write({extents: [i, 1], data: filled(1, i)});
		await device.sync({});
		generations.push((await generation()) - begin);
	}

	t.deepEqual(generations, [0, 1, 1, 1, 2, 2]);
	await stop();
});

test('what no log can say is secured by a superblock: clearings, snapshots, and without a log everything', async t => {
	const {device, control, generation, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, 10], data: filled(10, 9)});
	await device.sync({});
	const begin = await generation();
	await device.clear({extents: [2, 2]});
	await device.sync({});
	t.is(await generation(), begin + 1);
	await device.write({extents: [0, 1], data: filled(1, 8)});
	await device.sync({});
	t.is(await generation(), begin + 1);
	const snapshot = await control.create_snapshot({});
	t.is(snapshot.generation, await generation());
	await stop();

	const without = await openDevice(temporaryDirectory(), {shape: {flush_log_blocks: '0'}});
	const before = await without.generation();
	await without.device.write({extents: [0, 1], data: filled(1, 8)});
	await without.device.sync({});
	t.is(await without.generation(), before + 1);
	await without.stop();
});

test('an older log, a log without its end and a damaged log are refused, each with what to do', async t => {
	const state = temporaryDirectory();
	const {device, stop} = await openDevice(state);
	const images: Buffer[] = [];
	for (let value = 1; value < 4; value++) {
		await device.write({extents: [value, 1], data: filled(1, value)});
		await device.sync({});
		images.push(fs.readFileSync(join(state, 'image')));
	}

	const remains = crash(state);
	await stop();
	const newest = images[2];
	const slot = Array.from({length: 8}, (_, i) => newest.subarray(i * blockSize, (i + 1) * blockSize)).find(
		bytes => bytes[0] !== 0,
	)!;
	const {flushLog} = decodeSuperblock(slot);
	const altered = (pba: number, byte: number): Buffer => {
		const copy = Buffer.from(newest);
		copy[pba * blockSize + byte] ^= 1;
		return copy;
	};
	for (const [name, image] of Object.entries({
		older: images[1],
		'without its end': Buffer.from(newest).fill(
			0,
			(flushLog!.firstPba + 2) * blockSize,
			(flushLog!.firstPba + 3) * blockSize,
		),
		'damaged at its begin': altered(flushLog!.firstPba, 100),
		'damaged at its end': altered(flushLog!.firstPba + 2, 70),
	})) {
		const directory = crash(remains);
		fs.writeFileSync(join(directory, 'image'), image);
		await t.throwsAsync(
			openDevice(directory),
			{message: /rolled back: .* or its flush log was altered; .* cbe_adopt/},
			name,
		);
	}

	const good = await openDevice(remains);
	t.deepEqual(await Promise.all([1, 2, 3].map(async vba => valueAt(good.device, vba))), [1, 2, 3]);
	await good.stop();
});

test('data that a log names is verified when it is read', async t => {
	const state = temporaryDirectory();
	const {device, stop} = await openDevice(state);
	await device.write({extents: [0, 64], data: filled(64, 1)});
	await device.sync({});
	const before = fs.readFileSync(join(state, 'image'));
	await device.write({extents: [7, 1], data: filled(1, 2)});
	await device.sync({});
	const remains = crash(state);
	await stop();
	const image = fs.readFileSync(join(remains, 'image'));
	for (let pba = 8; pba < image.length / blockSize; pba++) {
		const place = image.subarray(pba * blockSize, (pba + 1) * blockSize);
		if (
			!place.equals(before.subarray(pba * blockSize, (pba + 1) * blockSize)) &&
			place.toString('latin1', 0, 7) !== 'CBE log'
		) {
			place[9] ^= 1;
		}
	}

	fs.writeFileSync(join(remains, 'image'), image);
	const opened = await openDevice(remains);
	await t.throwsAsync(valueAt(opened.device, 7), {code: 'integrity'});
	t.is(await valueAt(opened.device, 6), 1);
	await opened.stop();
});

test('a device locked behind a logged flush goes on after unlocking', async t => {
	const {device, control, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [7, 1], data: filled(1, 2)});
	await device.sync({});
	await control.lock({});
	await control.unlock({});
	t.is(await valueAt(device, 7), 2);
	await device.write({extents: [7, 1], data: filled(1, 3)});
	await device.sync({});
	t.is(await valueAt(device, 7), 3);
	await stop();
});

test('cbe_check checks what the log names, and cbe_dump shows it', async t => {
	const state = temporaryDirectory();
	const {device, anchor, stop} = await openDevice(state);
	await device.write({extents: [0, 100], data: filled(100, 1)});
	await device.sync({});
	await device.write({extents: [5, 2], data: filled(2, 2)});
	await device.sync({});
	await device.write({extents: [6, 1], data: filled(1, 3)});
	await device.sync({});
	const {secured} = await anchor.status({});
	const image = fs.readFileSync(join(state, 'image'));
	await stop();
	const run = async (tool: typeof cbeCheck, bytes: Buffer) =>
		runTool(tool, {medium: new MemoryMedium(bytes), anchor: new MemoryAnchor({secured})});
	const good = await run(cbeCheck, Buffer.from(image));
	t.is(good.exitValue, 0, good.message);
	t.regex(good.message ?? '', /100 blocks of the flush log/);
	const {log} = await run(cbeDump, Buffer.from(image));
	const lines = log.map(({text}) => text);
	t.true(
		lines.some(line => /^log slot 0, entries \d, blocks 100$/.test(line)),
		lines.join('\n'),
	);
	t.is(lines.filter(line => line.trim().startsWith('log_entry')).length, 4);

	const logged = Array.from({length: image.length / blockSize}, (_, pba) => pba).filter(
		pba => image.toString('latin1', pba * blockSize, pba * blockSize + 7) === 'CBE log',
	);
	const address = Number(image.readBigUInt64LE(logged.at(-1)! * blockSize + 120 + 8));
	image[address * blockSize + 1] ^= 1;
	const bad = await run(cbeCheck, image);
	t.is(bad.exitValue, -1);
	t.true(
		bad.log.some(({text}) => text.includes(`PBA ${address} (flush log, level 0, VBA 6)`)),
		bad.log.map(({text}) => text).join('\n'),
	);
});
