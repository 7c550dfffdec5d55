/** The old key of a rekeying is in no superblock slot once the rekeying counts as finished. */
import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {SessionError} from '../../runtime/sdk/session.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {crash, filled, imageOf, openDevice} from '../../test/support/device-stand.js';
import {filteredMedium} from '../../test/support/filtered-medium.js';
import {blockSize, superblockSlotCount} from '../lib/format/geometry.js';
import {wrappedKeysOf} from '../lib/format/superblock-codec.js';

/** First byte of a superblock while a rekeying goes on. */
const rekeyingState = 2;

function keysIn(state: string): Set<string> {
	const image = imageOf(state);
	return new Set(
		Array.from({length: 8}, (_, slot) =>
			wrappedKeysOf(image.subarray(slot * blockSize, (slot + 1) * blockSize)),
		).flat(),
	);
}

test('when a rekeying is over, and after a crash that left the slots, no slot names the old key', async t => {
	const state = temporaryDirectory();
	const device = await openDevice(state);
	await device.device.write({extents: [0, 64], data: filled(64, 1)});
	await device.device.sync({});
	await device.control.create_snapshot({});
	const [old] = keysIn(state);
	const before = imageOf(state);
	await device.control.rekey({});
	while ((await device.control.operations({})).rekey.phase !== 'idle') {
		await sleep(10);
	}

	t.is((await device.control.status({})).state, 'normal');
	const keys = keysIn(state);
	t.is(keys.size, 1);
	t.false(keys.has(old));
	await device.stop();

	const cut = crash(state);
	const image = imageOf(cut);
	const slot = Array.from({length: 8}, (_, i) => i).find(
		i =>
			wrappedKeysOf(image.subarray(i * blockSize, (i + 1) * blockSize)).length === 0 &&
			wrappedKeysOf(before.subarray(i * blockSize, (i + 1) * blockSize)).length > 0,
	)!;
	image.set(before.subarray(slot * blockSize, (slot + 1) * blockSize), slot * blockSize);
	fs.writeFileSync(join(cut, 'image'), image);
	t.true(keysIn(cut).has(old));
	const again = await openDevice(cut);
	t.false(keysIn(cut).has(old));
	t.true(again.texts().some(text => text.includes('emptied 1 slot with a key that a rekeying has replaced')));
	await again.stop();
});

test('a key that a rekeying has replaced does not come back when a full host kept the rekeying from being secured', async t => {
	/** Set with the superblock that begins the rekeying. */
	let [isFull, wasFull] = [false, false];
	const requireRoom = (): void => {
		if (isFull) {
			throw new SessionError('no_space', 'full');
		}
	};
	const filter = filteredMedium(below => ({
		async write({extents, data}) {
			requireRoom();
			const reply = await below.write({extents, data});
			isFull ||= !wasFull && extents[0] < superblockSlotCount && data[0] === rekeyingState;
			wasFull ||= isFull;
			return reply;
		},
		async allocate(request) {
			requireRoom();
			return below.allocate(request);
		},
	}));
	const {device, control, status, stop, bugs} = await openDevice(temporaryDirectory(), {
		filter,
		shape: {vbd_leaves: '1', vbd_max_level: '1', flush_log_blocks: '0'},
	});
	t.is(status('crypto').keys, 1);
	// Nothing has to be sealed anew, so the rekeying comes to its last step.
	await control.rekey({});
	for (let i = 0; i < 500 && (await control.operations({})).rekey.waitsFor === undefined; i++) {
		await sleep(10);
	}

	await t.throwsAsync(control.lock({}), {code: 'no_space'});
	await control.unlock({});
	isFull = false;
	await device.write({extents: [0, 1], data: filled(1, 1)});
	await device.sync({});
	t.is((await control.status({})).state, 'normal');
	t.is(status('crypto').keys, 1);
	const data = filled(1, 9);
	await device.read({extents: [0, 1], data});
	t.true(data.equals(filled(1, 1)));
	await stop();
	t.deepEqual(bugs, []);
});
