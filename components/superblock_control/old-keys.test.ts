/** The old key of a rekeying is in no superblock slot once the rekeying counts as finished. */
import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {crash, filled, imageOf, openDevice} from '../../test/support/device-stand.js';
import {blockSize} from '../container/geometry.js';
import {wrappedKeysOf} from '../container/superblock.js';

function keysIn(state: string): Set<string> {
	const image = imageOf(state);
	return new Set(Array.from({length: 8}, (_, slot) => wrappedKeysOf(image.subarray(slot * blockSize, (slot + 1) * blockSize))).flat());
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
	const slot = Array.from({length: 8}, (_, i) => i).find(i => wrappedKeysOf(image.subarray(i * blockSize, (i + 1) * blockSize)).length === 0 && wrappedKeysOf(before.subarray(i * blockSize, (i + 1) * blockSize)).length > 0)!;
	image.set(before.subarray(slot * blockSize, (slot + 1) * blockSize), slot * blockSize);
	fs.writeFileSync(join(cut, 'image'), image);
	t.true(keysIn(cut).has(old));
	const again = await openDevice(cut);
	t.false(keysIn(cut).has(old));
	t.true(again.texts().some(text => text.includes('emptied 1 slot with a key that a rekeying has replaced')));
	await again.stop();
});
