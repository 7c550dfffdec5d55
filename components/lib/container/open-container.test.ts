/** What lies on the medium beyond the anchored state, where superblocks carry no authenticators. */
import test from 'ava';
import {WrittenLog} from '../../../test/support/written-log.js';
import {MemoryAnchor} from '../../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../../test/support/memory-medium.js';
import {layOutPool} from '../../../test/support/pool-layout.js';
import {connectMemory} from '../../../test/support/tool-run.js';
import {blockSize} from '../format/geometry.js';
import {labelOf} from '../format/label.js';
import {openContainer} from './open-container.js';
import {nextSlot, type Superblock} from '../format/superblock.js';
import {encodeSuperblock} from '../format/superblock-codec.js';

const baseSlot = 3;

/** A container of version 1 whose anchor has announced a superblock; another one lies in its slot. */
async function crashed({slot = nextSlot(baseSlot), isFlushed = false} = {}) {
	const {superblock: fresh} = await layOutPool({leafCount: 20, maxLevel: 2, degree: 8});
	const flushLog = {firstPba: fresh.pbaCount, blockCount: 4};
	const superblock: Superblock = {
		...fresh,
		cipher: 'aes-256-xts',
		containerId: new Uint8Array(16).fill(9),
		pbaCount: fresh.pbaCount + 4,
		flushLog,
		lastSecuredGeneration: 10,
	};
	const base = encodeSuperblock(superblock);
	const newer = encodeSuperblock({...superblock, lastSecuredGeneration: 11});
	const image = Buffer.alloc(superblock.pbaCount * blockSize);
	image.set(base, baseSlot * blockSize);
	image.set(newer, slot * blockSize);
	if (isFlushed) {
		const {firstPba, data} = new WrittenLog(flushLog, labelOf(newer), 'plain').encode(
			{vbas: [1], addresses: [20], leaves: [3], labels: new Uint8Array(32)},
			12,
		);
		image.set(data, firstPba * blockSize);
	}

	const anchor = new MemoryAnchor({secured: {hash: labelOf(base), generation: 10, creating: false}});
	anchor.intended = new Uint8Array(32).fill(5);
	return connectMemory({medium: new MemoryMedium(image), anchor});
}

test('a part of the announced superblock that can be read is no newer one, and has to be emptied', async t => {
	const {superblock, slot, strayedSlot} = await openContainer(await crashed());
	t.is(superblock.lastSecuredGeneration, 10);
	t.is(slot, baseSlot);
	t.is(strayedSlot, nextSlot(baseSlot));
});

test('a superblock that was flushed after was written as a whole: the anchor is older', async t => {
	await t.throwsAsync(openContainer(await crashed({isFlushed: true})), {
		message: /older copy than the image: the image holds generation 11/,
	});
});

test('in any other slot than the announced one it is an older anchor', async t => {
	await t.throwsAsync(openContainer(await crashed({slot: nextSlot(nextSlot(baseSlot))})), {
		message: /older copy than the image: the image holds generation 11/,
	});
});
