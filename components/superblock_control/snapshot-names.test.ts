/**
 * Names and times of snapshots: what they may be, and that they stay with their snapshots through all that happens to a
 * container.
 */
import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {crash, filled, imageOf, openDevice} from '../../test/support/device-stand.js';
import {filteredMedium} from '../../test/support/filtered-medium.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {runTool} from '../../test/support/tool-run.js';
import type {Component} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import cbeCheck from '../cbe_check/component.js';
import cbeDump from '../cbe_dump/component.js';
import {blockSize} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import {snapshotNameFault} from '../lib/format/snapshot-name.js';
import {decodeDirectory, encodeDirectory} from '../lib/container/snapshot-directory.js';
import {snapshotDirectoryBlockCount} from '../lib/format/superblock.js';
import {decodeSuperblock, isUnusedSlot} from '../lib/format/superblock-codec.js';
import {SuperblockError} from '../lib/format/superblock-fields.js';

type Stand = Awaited<ReturnType<typeof openDevice>>;

const namesOf = async ({control}: Stand) => (await control.list_snapshots({})).snapshots.map(({name}) => name);

async function write({device}: Stand, value: number): Promise<void> {
	await device.write({extents: [0, 4], data: filled(4, value)});
}

async function idle({control}: Stand): Promise<void> {
	for (;;) {
		const {extend, rekey} = await control.operations({});
		if (extend.phase === 'idle' && rekey.phase === 'idle') {
			return;
		}

		await sleep(10);
	}
}

test('what a name may be', t => {
	for (const name of ['a', 'before upgrade', '2026-11-29', 'größer', '…', 'x'.repeat(48), '.hidden', '12a']) {
		t.is(snapshotNameFault(name), undefined, name);
	}

	for (const name of [
		'',
		'x'.repeat(49),
		'ü'.repeat(25),
		'a/b',
		'/',
		'.',
		'..',
		'12',
		'a\nb',
		'a\u0000',
		'\u007f',
		'\u2028',
		' a',
		'a ',
		'\ud800',
	]) {
		t.is(typeof snapshotNameFault(name), 'string', JSON.stringify(name));
	}
});

test('the block of the names says what it was made of, and nothing else passes', t => {
	const names = new Map([
		[3, 'one'],
		[2 ** 40, 'zwölf'],
		...Array.from({length: 44}, (_, i) => [100 + i, `${i}`.padEnd(48, 'x')] as const),
	]);
	const encoded = encodeDirectory(names);
	t.deepEqual(new Map([...decodeDirectory(encoded)].sort()), new Map([...names].sort()));
	for (const offset of [0, 8, 12, 24, 25, 74, 4095]) {
		const changed = Buffer.from(encoded);
		changed[offset] ^= 0xff;
		t.throws(() => decodeDirectory(changed), {instanceOf: SuperblockError}, `byte ${offset}`);
	}
});

test('names and times survive crashes, rekeying, extension, reverting and locking, and go with their snapshots', async t => {
	const state = temporaryDirectory();
	let now = Date.UTC(2026, 0, 2, 3, 4, 5, 678);
	const first = await openDevice(state, {timeOfDay: () => now});
	await write(first, 1);
	const {generation: one} = await first.control.create_snapshot({name: 'one'});
	await write(first, 2);
	now = -1;
	await first.control.create_snapshot({});
	now = 2 ** 41;
	await write(first, 3);
	const {generation: three} = await first.control.create_snapshot({name: 'three'});
	const {snapshots} = await first.control.list_snapshots({});
	t.deepEqual(
		snapshots.map(({name}) => name),
		['one', undefined, 'three'],
	);
	t.deepEqual(
		snapshots.map(({time}) => time),
		[Date.UTC(2026, 0, 2, 3, 4, 5) / 1000, undefined, Math.floor(2 ** 41 / 1000)],
		'a clock before 1970 says nothing',
	);
	await write(first, 4);
	const second = await openDevice(crash(state));
	t.deepEqual((await second.control.list_snapshots({})).snapshots, snapshots);
	await second.control.rekey({});
	await second.control.extend({tree: 'ft', blockCount: 300}).catch(() => undefined);
	await idle(second);
	await second.control.extend({tree: 'vbd', blockCount: 100});
	await idle(second);
	t.deepEqual((await second.control.list_snapshots({})).snapshots, snapshots);
	await first.control.revert_snapshot({generation: one});
	await first.control.lock({});
	t.deepEqual((await first.control.list_snapshots({})).snapshots, snapshots);
	await first.control.unlock({});
	await first.control.discard_snapshot({generation: three});
	const third = await openDevice(crash(state));
	t.deepEqual(await namesOf(third), ['one', undefined]);
	await write(third, 5);
	await third.control.create_snapshot({name: 'three'});
	t.deepEqual(await namesOf(third), ['one', undefined, 'three'], 'a name can be had again');
	for (const stand of [first, second, third]) {
		t.deepEqual(stand.errors(), []);
		await stand.stop();
	}
});

test('where nothing was written: a nameless snapshot gets the name, beside a named one there is a second one', async t => {
	const state = temporaryDirectory();
	const stand = await openDevice(state);
	const {control} = stand;
	await write(stand, 1);
	const {generation} = await control.create_snapshot({});
	t.deepEqual(await control.create_snapshot({name: 'a'}), {generation, isNew: false});
	await write(stand, 2);
	const {generation: other} = await control.create_snapshot({name: 'b'});
	t.deepEqual(await control.create_snapshot({}), {generation: other, isNew: false});
	const {generation: third, isNew} = await control.create_snapshot({name: 'c'});
	t.true(isNew && third > other);
	await t.throwsAsync(control.create_snapshot({name: 'a'}), {
		code: 'invalid_name',
		message: /there is a snapshot "a" already/,
	});
	await t.throwsAsync(control.create_snapshot({name: '12'}), {
		code: 'invalid_name',
		message: /would look like the number/,
	});
	t.deepEqual(await namesOf(stand), ['a', 'b', 'c']);
	// The one that is the present content loses its mark alone, and its name with it.
	await control.discard_snapshot({generation: third});
	t.deepEqual(await namesOf(stand), ['a', 'b']);
	await control.create_snapshot({});
	const again = await openDevice(crash(state));
	t.deepEqual(await namesOf(again), ['a', 'b', undefined]);
	for (const [named, value] of [
		[generation, 1],
		[other, 2],
	]) {
		const data = filled(4, 0);
		await again.control.read_snapshot({generation: named, extents: [0, 4], data});
		t.deepEqual(data, filled(4, value));
	}

	await again.stop();
	await stand.stop();
});

test('46 names at most', async t => {
	const state = temporaryDirectory();
	const stand = await openDevice(state);
	const names = Array.from({length: 46}, (_, i) => `snapshot ${i}`);
	for (const [i, name] of names.entries()) {
		await write(stand, i);
		await stand.control.create_snapshot({name});
	}

	await write(stand, 99);
	await t.throwsAsync(stand.control.create_snapshot({name: 'one more'}), {
		code: 'refused',
		message: /46 snapshots already/,
	});
	const again = await openDevice(crash(state));
	t.deepEqual(await namesOf(again), names);
	await again.stop();
	await stand.stop();
});

test('no names in the form of the original, and nothing is created for one', async t => {
	const stand = await openDevice(temporaryDirectory(), {shape: {cipher: 'aes-256-cbc-essiv', flush_log_blocks: '0'}});
	await write(stand, 1);
	await t.throwsAsync(stand.control.create_snapshot({name: 'a'}), {
		code: 'refused',
		message: /in a container of this form/,
	});
	t.deepEqual(await namesOf(stand), []);
	await stand.control.create_snapshot({});
	const {
		snapshots: [{time}],
	} = await stand.control.list_snapshots({});
	t.is(time, undefined);
	await stand.stop();
});

test('where inner blocks are encrypted names are, too; they survive crashes, and an altered one is damage', async t => {
	const state = temporaryDirectory();
	const options = {shape: {inner_blocks: 'encrypted', flush_log_blocks: '0'}};
	const first = await openDevice(state, options);
	await write(first, 1);
	await first.control.create_snapshot({name: 'the first of all names'});
	await write(first, 2);
	await first.control.create_snapshot({name: 'the second of all names'});
	await first.control.rekey({});
	await idle(first);
	const second = await openDevice(crash(state), options);
	t.deepEqual(await namesOf(second), ['the first of all names', 'the second of all names']);
	await second.control.check({});
	while ((await second.control.operations({})).check.phase !== 'idle') {
		await sleep(10);
	}

	t.is(
		(await second.control.operations({})).check.lastResult,
		'success',
		'a check of the running device reads them as well',
	);
	t.deepEqual([...first.errors(), ...second.errors()], []);
	const image = imageOf(state);
	t.false(image.includes('of all names'), 'none lies on the medium in clear');

	const slots = Array.from({length: 8}, (_, slot) => image.subarray(slot * blockSize, (slot + 1) * blockSize)).filter(
		slot => !isUnusedSlot(slot),
	);
	const {snapshotDirectory} = slots
		.map(slot => decodeSuperblock(slot))
		.sort((a, b) => b.lastSecuredGeneration - a.lastSecuredGeneration)[0];
	image[(snapshotDirectory!.firstPba + snapshotDirectory!.place) * blockSize + 25] ^= 1;
	const copy = crash(state);
	fs.writeFileSync(join(copy, 'image'), image);
	const third = await openDevice(copy, options);
	t.regex(third.errors().join('\n'), /^the names of the snapshots \(PBA \d+\) are not the ones that were stored/);
	t.deepEqual(await namesOf(third), [undefined, undefined]);
	for (const stand of [first, second, third]) {
		await stand.stop();
	}
});

test('names that were altered are told as damage and not believed; everything else works, and new names do', async t => {
	const state = temporaryDirectory();
	const first = await openDevice(state);
	await write(first, 1);
	const {generation} = await first.control.create_snapshot({name: 'precious'});
	const copy = crash(state);
	const {secured} = await first.anchor.status({});
	await first.stop();
	const image = imageOf(copy);
	const run = async (tool: Component) =>
		runTool(tool, {medium: new MemoryMedium(image), anchor: new MemoryAnchor({secured})});
	t.is((await run(cbeCheck)).exitValue, 0);
	t.true((await run(cbeDump)).log.some(({text}) => text === `name generation ${generation}, precious`));
	const slots = Array.from({length: 8}, (_, slot) => image.subarray(slot * blockSize, (slot + 1) * blockSize)).filter(
		slot => !isUnusedSlot(slot),
	);
	const {snapshotDirectory} = slots
		.map(slot => decodeSuperblock(slot))
		.sort((a, b) => b.lastSecuredGeneration - a.lastSecuredGeneration)[0];
	const address = snapshotDirectory!.firstPba + snapshotDirectory!.place;
	const stored = image.subarray(address * blockSize, (address + 1) * blockSize);
	t.deepEqual(labelOf(stored), Buffer.from(snapshotDirectory!.hash));
	stored.write('worthless', 25);
	fs.writeFileSync(join(copy, 'image'), image);
	const checked = await run(cbeCheck);
	t.is(checked.exitValue, -1);
	t.regex(checked.message ?? '', /the container is damaged: 1 finding;/);
	t.true(
		checked.log.some(({text}) => text.startsWith(`the names of the snapshots (PBA ${address}) are not the ones`)),
	);
	t.false((await run(cbeDump)).log.some(({text}) => text.includes('worthless')));
	const stand = await openDevice(copy);
	t.regex(
		stand.errors().join('\n'),
		/^the names of the snapshots \(PBA \d+\) are not the ones that were stored; the snapshots have their numbers/,
	);
	t.deepEqual(await namesOf(stand), [undefined]);
	const data = filled(4, 0);
	await stand.control.read_snapshot({generation, extents: [0, 4], data});
	t.deepEqual(data, filled(4, 1));
	await stand.control.check({});
	while ((await stand.control.operations({})).check.phase !== 'idle') {
		await sleep(10);
	}

	t.is((await stand.control.operations({})).check.lastResult, 'failed');
	await write(stand, 2);
	await stand.control.create_snapshot({name: 'new'});
	const again = await openDevice(crash(copy));
	t.deepEqual(await namesOf(again), [undefined, 'new']);
	t.deepEqual(again.errors(), []);
	await again.stop();
	await stand.stop();
});

/** A medium of which one block cannot be read, and that has no room for it. */
const hostile = {badPba: -1, isFull: false};

const refusing = filteredMedium(below => ({
	async read({extents, data}) {
		if (extents.length === 2 && extents[0] === hostile.badPba) {
			throw new SessionError('device_failed', 'bad sector');
		}

		return below.read({extents, data});
	},
	async allocate({extents}) {
		if (hostile.isFull && extents[1] === snapshotDirectoryBlockCount) {
			throw new SessionError('no_space', 'the host has no room');
		}

		return below.allocate({extents});
	},
}));

test('names that cannot be read now are not forgotten; on a host without room no name is taken, and nothing else happens', async t => {
	const state = temporaryDirectory();
	const first = await openDevice(state, {filter: refusing});
	await write(first, 1);
	hostile.isFull = true;
	await t.throwsAsync(first.control.create_snapshot({name: 'one'}), {
		code: 'no_space',
		message: /the host has no room/,
	});
	t.deepEqual(await namesOf(first), []);
	hostile.isFull = false;
	const {generation} = await first.control.create_snapshot({name: 'one'});
	await write(first, 2);
	await first.control.create_snapshot({name: 'two'});
	const copy = crash(state);
	await first.stop();
	const image = imageOf(copy);
	const {snapshotDirectory} = Array.from({length: 8}, (_, slot) =>
		image.subarray(slot * blockSize, (slot + 1) * blockSize),
	)
		.filter(slot => !isUnusedSlot(slot))
		.map(slot => decodeSuperblock(slot))
		.sort((a, b) => b.lastSecuredGeneration - a.lastSecuredGeneration)[0];
	hostile.badPba = snapshotDirectory!.firstPba + snapshotDirectory!.place;
	const second = await openDevice(copy, {filter: refusing});
	t.regex(second.errors().join('\n'), /the names of the snapshots \(PBA \d+\) cannot be read: bad sector/);
	t.deepEqual(await namesOf(second), [undefined, undefined]);
	await t.throwsAsync(second.control.create_snapshot({name: 'three'}), {
		code: 'refused',
		message: /would have the others forgotten: start again/,
	});
	await second.control.discard_snapshot({generation});
	await write(second, 3);
	await second.control.create_snapshot({});
	hostile.badPba = -1;
	const third = await openDevice(crash(copy), {filter: refusing});
	t.deepEqual(await namesOf(third), ['two', undefined]);
	t.deepEqual(third.errors(), []);
	await third.stop();
	await second.stop();
});
