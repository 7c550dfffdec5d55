import test from 'ava';
import {MemoryAnchor} from '../../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../../test/support/memory-medium.js';
import {connectMemory} from '../../../test/support/tool-run.js';
import {loadGolden} from '../../../test/support/golden.js';
import type {Superblock} from '../format/superblock.js';
import {encodeSuperblock, decodeSuperblock} from '../format/superblock-codec.js';
import {judgeAuthenticity, sealSuperblock} from './superblock-authenticator.js';

const {image, description} = loadGolden('d64_b_snaps');
const original = image.subarray(
	description.superblock.superblock_slot * 4096,
	(description.superblock.superblock_slot + 1) * 4096,
);
const superblock: Superblock = {
	...decodeSuperblock(original),
	cipher: 'aes-256-xts',
	containerId: new Uint8Array(16).fill(5),
	features: [],
};
const {trustAnchor: anchor} = connectMemory({
	medium: new MemoryMedium(image),
	anchor: new MemoryAnchor({initialized: true}),
});

test('each bit before the authenticator, and of it, counts', async t => {
	const block = await sealSuperblock(anchor, superblock);
	t.is(await judgeAuthenticity(anchor, block, superblock), 'authentic');
	for (const offset of [0, 100, 3553, 3777, 4063, 4064, 4095]) {
		const altered = Buffer.from(block);
		altered[offset] ^= 1;
		t.is(await judgeAuthenticity(anchor, altered, superblock), 'forged', `byte ${offset}`);
	}

	t.is(await judgeAuthenticity(anchor, block, {...superblock, containerId: new Uint8Array(16).fill(6)}), 'forged');
});

test('superblocks of the original and of version 1 carry none and are sealed as they are', async t => {
	for (const plain of [decodeSuperblock(original), {...superblock, features: undefined}]) {
		const block = await sealSuperblock(anchor, plain);
		t.deepEqual(block, encodeSuperblock(plain));
		t.is(await judgeAuthenticity(anchor, block, plain), 'unauthenticated');
	}
});
