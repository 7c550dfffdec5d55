/** The newest snapshot is always of the generation that was secured, whatever is secured without a write. */
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {filled, imageOf, openDevice} from '../../test/support/device-stand.js';
import {blockSize} from '../lib/format/geometry.js';
import {decodeSuperblock, isUnusedSlot} from '../lib/format/superblock-codec.js';

test('after a snapshot an extension of the pool leaves the newest snapshot with the secured generation, and the kept one as it was', async t => {
	const state = temporaryDirectory();
	const device = await openDevice(state);
	await device.device.write({extents: [0, 70], data: filled(70, 1)});
	const {generation} = await device.control.create_snapshot({});
	await device.control.extend({tree: 'ft', blockCount: 300});
	while ((await device.control.operations({})).extend.phase !== 'idle') {
		await sleep(10);
	}

	const image = imageOf(state);
	const slots = Array.from({length: 8}, (_, slot) => image.subarray(slot * blockSize, (slot + 1) * blockSize))
		.filter(slot => !isUnusedSlot(slot))
		.map(slot => decodeSuperblock(slot));
	for (const {lastSecuredGeneration, snapshots, currentSnapshot, freeTree, metaTree} of slots) {
		t.is(snapshots[currentSnapshot]?.root.generation, lastSecuredGeneration);
		t.true(freeTree.root.generation <= lastSecuredGeneration && metaTree.root.generation <= lastSecuredGeneration);
	}

	t.deepEqual(
		(await device.control.list_snapshots({})).snapshots.map(({generation: name}) => name),
		[generation],
	);
	const data = filled(70, 0);
	await device.control.read_snapshot({generation, extents: [0, 70], data});
	t.deepEqual(data, filled(70, 1));
	await device.stop();
});
