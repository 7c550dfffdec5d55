/** The flush log where something is in its way: bad blocks, small caches, images that are cut, writes that failed. */
import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {
	crash,
	filled,
	imageOf,
	openDevice as openStand,
	type DeviceStandOptions,
} from '../../test/support/device-stand.js';
import {addressesOf, filteredMedium} from '../../test/support/filtered-medium.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import cbeAdopt from '../cbe_adopt/component.js';
import {decodeSuperblock} from '../lib/format/superblock-codec.js';
import {blockSize} from '../sessions/block.js';

/** Blocks of the medium that cannot be read, or not written. */
const bad = {reads: new Set<number>(), writes: new Set<number>()};
/** Called after each sync. */
let synced = (): void => undefined;

function requireGood(extents: readonly number[], blocks: ReadonlySet<number>): void {
	if (addressesOf(extents).some(pba => blocks.has(pba))) {
		throw new SessionError('device_failed', 'bad sector');
	}
}

const badSectors = filteredMedium(below => ({
	async read(request) {
		requireGood(request.extents, bad.reads);
		return below.read(request);
	},
	async write(request) {
		requireGood(request.extents, bad.writes);
		return below.write(request);
	},
	async sync(request) {
		await below.sync(request);
		synced();
		return {};
	},
}));

/** A log of some length, on a medium with bad blocks. */
async function openDevice(stateDirectory: string, {shape, ...options}: DeviceStandOptions = {}) {
	return openStand(stateDirectory, {filter: badSectors, shape: {flush_log_blocks: '64', ...shape}, ...options});
}

function firstLogPba(image: Buffer): number {
	return (
		Array.from({length: image.length / blockSize}, (_, pba) => pba).find(
			pba => image.toString('latin1', pba * blockSize, pba * blockSize + 7) === 'CBE log',
		) ?? -1
	);
}

test.afterEach(() => {
	bad.reads.clear();
	bad.writes.clear();
	synced = () => undefined;
});

test.serial('a log opens with any cache that the components accept', async t => {
	const shape = {
		vbd_leaves: String(64 * 800),
		vbd_max_level: '3',
		ft_leaves: '20000',
		ft_max_level: '3',
		flush_log_blocks: '256',
	};
	const state = temporaryDirectory();
	const first = await openDevice(state, {shape, caches: ['48M']});
	await first.device.write({extents: [0, 1], data: filled(1, 1)});
	await first.control.create_snapshot({});
	for (let i = 0; i < 760; i++) {
		await first.device.write({extents: [64 * i, 1], data: filled(1, 2)});
		if (i % 60 === 59) {
			await first.device.sync({});
		}
	}

	await first.device.sync({});
	const remains = crash(state);
	await first.stop();
	for (const size of ['48M', '8M', '4M']) {
		const opened = await openDevice(crash(remains), {shape, caches: [size]});
		t.true(
			opened.texts().some(text => /took over \d+ entries of the flush log/.test(text)),
			size,
		);
		for (const vba of [0, 64, 64 * 759]) {
			const data = filled(1, 9);
			await opened.device.read({extents: [vba, 1], data});
			t.true(data.equals(filled(1, 2)), `${size}, VBA ${vba}`);
		}

		await opened.stop();
	}
});

test.serial(
	'a log opens where each change lies in another block of the pool, and the pool has a small cache of its own',
	async t => {
		const blockCount = 240;
		const options = {
			caches: ['16M', '2M'],
			shape: {
				vbd_leaves: String(64 * 250),
				vbd_max_level: '3',
				ft_leaves: String(64 * blockCount),
				ft_max_level: '3',
			},
		};
		const state = temporaryDirectory();
		const first = await openDevice(state, options);
		const written = 64 * 245;
		for (let vba = 0; vba < written; vba += 112) {
			await first.device.write({extents: [vba, 112], data: filled(112, 1)});
		}

		// The snapshot holds the first version of each block; only two entries in each block of the pool are spare
		// later.
		await first.control.create_snapshot({});
		await first.device.write({extents: [0, blockCount], data: filled(blockCount, 2)});
		await first.control.lock({});
		await first.control.unlock({});
		for (let i = 0, fresh = 256; i < blockCount && fresh + 61 <= written; i++, fresh += 60) {
			await first.device.write({extents: [fresh, 60], data: filled(60, 3)});
			await first.device.write({extents: [i, 1], data: filled(1, 4)});
			if (i % 20 === 19) {
				await first.device.sync({});
			}
		}

		await first.control.lock({});
		await first.control.unlock({});
		const before = await first.generation();
		let remains = '';
		for (let i = 4; i < blockCount && (await first.generation()) === before; i += 5) {
			await first.device.write({extents: [i - 4, 5], data: filled(5, 5)});
			await first.device.sync({});
			remains = (await first.generation()) === before ? crash(state) : remains;
		}

		await first.stop();
		const opened = await openDevice(remains, options);
		t.true(opened.texts().some(text => text.includes('of the flush log')));
		const data = filled(5, 9);
		await opened.device.read({extents: [0, 5], data});
		t.true(data.equals(filled(5, 5)));
		await opened.stop();
	},
);

test.serial("a bad block behind the newest entry is none of the opening's business", async t => {
	const state = temporaryDirectory();
	const first = await openDevice(state);
	await first.device.write({extents: [0, 1], data: filled(1, 1)});
	await first.device.sync({});
	const remains = crash(state);
	await first.stop();
	const pba = firstLogPba(imageOf(remains));
	bad.reads.add(pba + 40);
	const opened = await openDevice(crash(remains));
	t.true(opened.texts().includes('took over 1 entry of the flush log'));
	await opened.stop();
	bad.reads.add(pba);
	await t.throwsAsync(openDevice(remains), {message: /bad sector/});
});

test.serial('a log that cannot be written is given up, and flushes secure superblocks', async t => {
	const state = temporaryDirectory();
	const {device, generation, texts, stop} = await openDevice(state);
	await device.write({extents: [0, 1], data: filled(1, 1)});
	await device.sync({});
	bad.writes.add(firstLogPba(imageOf(state)) + 1);
	const before = await generation();
	for (let value = 2; value < 5; value++) {
		await device.write({extents: [value, 1], data: filled(1, value)});
		await device.sync({});
	}

	t.is(await generation(), before + 3);
	t.is(texts().filter(text => text.includes('the flush log cannot be written (bad sector)')).length, 1);
	const remains = crash(state);
	await stop();
	const opened = await openDevice(remains);
	const data = filled(5, 9);
	await opened.device.read({extents: [0, 5], data});
	t.deepEqual(
		[0, 1, 2, 3, 4].map(vba => data[vba * blockSize]),
		[1, 0, 2, 3, 4],
	);
	await opened.stop();
});

test.serial('a logged block that is written again and again takes one new place', async t => {
	const {device, control, status, stop} = await openDevice(temporaryDirectory());
	/** A count of the pool has everything booked before. */
	const exchangedCount = async () => {
		await control.status({});
		return Number(status('free_tree').exchanged_blocks);
	};
	await device.write({extents: [3, 1], data: filled(1, 1)});
	await device.sync({});
	const before = await exchangedCount();
	for (let i = 0; i < 50; i++) {
		await device.write({extents: [3, 1], data: filled(1, i)});
	}

	t.is((await exchangedCount()) - before, 1);
	await stop();
});

test.serial('an image that is cut within its log is truncated, not rolled back', async t => {
	const state = temporaryDirectory();
	const {device, stop} = await openDevice(state);
	await device.write({extents: [0, 1], data: filled(1, 1)});
	await device.sync({});
	const remains = crash(state);
	await stop();
	fs.truncateSync(join(remains, 'image'), imageOf(remains).length - blockSize);
	await t.throwsAsync(openDevice(remains), {message: /the image is truncated: it has \d+ blocks/});
});

test.serial('reverting works right after a write that failed', async t => {
	const {device, control, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, 10], data: filled(10, 1)});
	const {generation} = await control.create_snapshot({});
	await device.write({extents: [0, 10], data: filled(10, 2)});
	await control.create_snapshot({});
	for (let pba = 8; pba < 4000; pba++) {
		bad.writes.add(pba);
	}

	await t.throwsAsync(device.write({extents: [5, 1], data: filled(1, 3)}), {code: 'device_failed'});
	bad.writes.clear();
	await control.revert_snapshot({generation});
	const data = filled(10, 9);
	await device.read({extents: [0, 10], data});
	t.true(data.equals(filled(10, 1)));
	await stop();
});

test.serial('nothing is written after a reverting that could not be secured before it is', async t => {
	const state = temporaryDirectory();
	const {device, control, stop} = await openDevice(state);
	await device.write({extents: [0, 1], data: filled(1, 1)});
	const {generation} = await control.create_snapshot({});
	await device.write({extents: [5, 1], data: filled(1, 2)});
	// The state before the reverting is secured with two syncs; then the trees of the reverted one find a bad medium.
	let syncCount = 0;
	synced = () => {
		syncCount++;
		for (let pba = 8; syncCount === 2 && pba < 4000; pba++) {
			bad.writes.add(pba);
		}
	};

	await t.throwsAsync(control.revert_snapshot({generation}), {code: 'device_failed'});
	await t.throwsAsync(device.write({extents: [5, 1], data: filled(1, 3)}), {code: 'device_failed'});
	const before = await openStand(crash(state));
	const data = filled(1, 9);
	await before.device.read({extents: [5, 1], data});
	t.true(data.equals(filled(1, 2)));
	await before.stop();

	// Now it is secured first, and block 5 of the state that counts was never written: what lies in its place does not
	// matter.
	bad.writes.clear();
	await device.write({extents: [5, 1], data: filled(1, 3)});
	const after = await openStand(crash(state));
	await after.device.read({extents: [5, 1], data});
	t.true(data.equals(filled(1, 0)));
	await after.device.read({extents: [0, 1], data});
	t.true(data.equals(filled(1, 1)));
	await after.stop();
	await stop();
});

test.serial('room of cleared blocks is given back after a superblock, whatever secured it', async t => {
	const {device, control, status, stop} = await openDevice(temporaryDirectory());
	await device.write({extents: [0, 100], data: filled(100, 1)});
	const {generation} = await control.create_snapshot({});
	await control.discard_snapshot({generation});
	const reclaimed = () => Number(status('vbd').reclaimed_blocks);
	const before = reclaimed();
	await device.clear({extents: [0, 50]});
	await control.create_snapshot({});
	const endMs = Date.now() + 10_000;
	while (reclaimed() < before + 50 && Date.now() < endMs) {
		await sleep(20);
	}

	t.true(reclaimed() >= before + 50, `${reclaimed()} after ${before}`);
	await stop();
});

test.serial('where a log cannot be taken over because of damage, it can be given up on purpose', async t => {
	const state = temporaryDirectory();
	const first = await openDevice(state);
	for (let vba = 0; vba < 1024; vba += 128) {
		await first.device.write({extents: [vba, 128], data: filled(128, 1)});
	}

	await first.control.create_snapshot({});
	await first.device.write({extents: [70, 1], data: filled(1, 2)});
	await first.device.sync({});
	const {secured} = await first.anchor.status({});
	const remains = crash(state);
	await first.stop();
	const image = imageOf(remains);
	const superblocks = Array.from({length: 8}, (_, slot) => image.subarray(slot * blockSize, (slot + 1) * blockSize))
		.filter(bytes => bytes[0] === 1)
		.map(bytes => decodeSuperblock(bytes));
	const newest = superblocks.reduce((a, b) => (a.lastSecuredGeneration > b.lastSecuredGeneration ? a : b));
	const rootPba = newest.snapshots[newest.currentSnapshot]?.root.address ?? 0;
	image[Number(image.readBigUInt64LE(rootPba * blockSize + 64)) * blockSize + 5] ^= 1;
	fs.writeFileSync(join(remains, 'image'), image);
	await t.throwsAsync(openDevice(remains), {
		message: /flush log cannot be taken over: the block at PBA \d+ .* cbe_adopt/,
	});

	const anchor = new MemoryAnchor({secured, initialized: true});
	const adopt = async (confirm: string) =>
		runTool(cbeAdopt, {medium: new MemoryMedium(image), anchor, config: {confirm}});
	for (const confirm of ['no', 'yes']) {
		const {exitValue, message} = await adopt(confirm);
		t.is(exitValue, 0);
		t.regex(message ?? '', /nothing to adopt.*without_log/);
	}

	t.deepEqual(anchor.secured, secured);
	t.is((await adopt('without_log')).exitValue, 0);
	t.is(anchor.secured?.generation, newest.lastSecuredGeneration);
	t.regex((await adopt('no')).message ?? '', /nothing to adopt$/);
});
