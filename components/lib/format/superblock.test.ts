import test from 'ava';
import {goldenNames, loadGolden} from '../../../test/support/golden.js';
import {blockSize, superblockSlotCount} from './geometry.js';
import {nextSlot, snapshotSlotCount, states, type Superblock} from './superblock.js';
import {
	encodeEmptiedSlot,
	encodeUnusedSlot,
	encodeSuperblock,
	decodeSuperblock,
	isUnusedSlot,
} from './superblock-codec.js';
import {SuperblockError} from './superblock-fields.js';

const snapshotsOffset = 97;
const snapshotSize = 72;
const unusedSnapshot = encodeUnusedSlot().subarray(snapshotsOffset, snapshotsOffset + snapshotSize);

function slotsOf(image: Buffer): Buffer[] {
	return Array.from({length: superblockSlotCount}, (_, slot) =>
		image.subarray(slot * blockSize, (slot + 1) * blockSize),
	);
}

/**
 * The original leaves what a discarded snapshot was in its slot and clears the valid flag alone; here the slot is
 * emptied.
 */
function withDiscardedSnapshotsEmptied(slot: Buffer): Buffer {
	const copy = Buffer.from(slot);
	for (let index = 0; index < snapshotSlotCount; index++) {
		const offset = snapshotsOffset + index * snapshotSize;
		if (copy[offset + 60] === 0) {
			copy.set(unusedSnapshot, offset);
		}
	}

	return copy;
}

for (const name of goldenNames) {
	test(`every superblock of ${name} is decoded as described and encoded to the same bytes`, t => {
		const {image, description} = loadGolden(name);
		const slots = slotsOf(image);
		let usedCount = 0;
		for (const slot of slots) {
			if (isUnusedSlot(slot)) {
				t.deepEqual(slot, encodeUnusedSlot());
			} else {
				usedCount++;
				t.true(encodeSuperblock(decodeSuperblock(slot)).equals(withDiscardedSnapshotsEmptied(slot)));
			}
		}

		t.true(usedCount > 0);
		const expected = description.superblock;
		const superblock = decodeSuperblock(slots[expected.superblock_slot]);
		t.is(states[superblock.state], expected.state as 1);
		t.is(superblock.rekeyingVba, expected.rekeying_vba);
		t.deepEqual(superblock.resizing, {
			pbaCount: expected.resizing_nr_of_pbas,
			leafCount: expected.resizing_nr_of_leaves,
		});
		t.deepEqual(superblock.currentKey, {
			wrapped: Uint8Array.from(Buffer.from(expected.current_key.on_disc, 'hex')),
			id: expected.current_key.id,
		});
		t.is(superblock.previousKey?.id ?? 0, expected.previous_key.id);
		t.is(superblock.lastSecuredGeneration, expected.last_secured_generation);
		t.is(superblock.currentSnapshot, expected.curr_snap_idx);
		t.is(superblock.pbaCount, expected.nr_of_pbas);
		t.is(superblock.cipher, 'aes-256-cbc-essiv');
		t.is(superblock.containerId, undefined);
		for (const [tree, golden] of [
			[superblock.freeTree, expected.free_tree],
			[superblock.metaTree, expected.meta_tree],
		] as const) {
			t.like(tree, {maxLevel: golden.max_lvl, degree: golden.degree, leafCount: golden.leaves});
			t.deepEqual(tree.root, {
				address: golden.pba,
				generation: golden.gen,
				hash: Uint8Array.from(Buffer.from(golden.hash, 'hex')),
			});
		}

		t.is(superblock.snapshots.filter(snapshot => snapshot !== undefined).length, description.snapshots.length);
		for (const golden of description.snapshots) {
			t.deepEqual(superblock.snapshots[golden.idx], {
				root: {
					address: golden.pba,
					generation: golden.gen,
					hash: Uint8Array.from(Buffer.from(golden.hash, 'hex')),
				},
				leafCount: golden.leaves,
				maxLevel: golden.max_lvl,
				keep: golden.keep,
			});
		}
	});
}

function sample(): Superblock {
	const {image, description} = loadGolden('d64_d_rekeying_fixed');
	return decodeSuperblock(slotsOf(image)[description.superblock.superblock_slot]);
}

test('a container of this project carries its cipher and id where the original has zeroes', t => {
	const superblock: Superblock = {...sample(), cipher: 'aes-256-xts', containerId: new Uint8Array(16).fill(9)};
	const encoded = encodeSuperblock(superblock);
	t.deepEqual(decodeSuperblock(encoded), superblock);
	t.is(encoded.toString('latin1', 3713, 3721), 'CBE ext\0');
	t.true(
		encodeSuperblock(sample())
			.subarray(3713)
			.every(byte => byte === 0),
	);
});

test('with an authenticated cipher it carries how much its keys were used; with others these bytes are zero', t => {
	const superblock: Superblock = {
		...sample(),
		cipher: 'aes-256-gcm',
		containerId: new Uint8Array(16).fill(9),
		sealedBlockCounts: {current: 2 ** 31 + 5, previous: 7},
	};
	const encoded = encodeSuperblock(superblock);
	t.deepEqual(decodeSuperblock(encoded), superblock);
	t.is(encoded.readBigUInt64LE(3745), 2n ** 31n + 5n);
	encoded.writeUInt32LE(1, 3725);
	t.throws(() => decodeSuperblock(encoded), {message: /extension/});
});

test('version 2 has features and room for an authenticator, version 1 neither', t => {
	const first: Superblock = {...sample(), cipher: 'aes-256-xts', containerId: new Uint8Array(16).fill(9)};
	const second: Superblock = {...first, features: []};
	t.is(encodeSuperblock(first).readUInt32LE(3721), 1);
	const encoded = encodeSuperblock(second);
	t.is(encoded.readUInt32LE(3721), 2);
	encoded.fill(0xa5, 4064);
	t.deepEqual(decodeSuperblock(encoded), second);
	encoded.writeUInt8(1, 4063);
	t.throws(() => decodeSuperblock(encoded), {message: /extension/});
	const later = encodeSuperblock(second);
	later.writeUInt32LE(0x8000_0000, 3777);
	t.throws(() => decodeSuperblock(later), {
		message: /features \(0x80000000\) that this version does not know; use a newer version/,
	});
	const stray = encodeSuperblock(first);
	stray.writeUInt8(1, 4064);
	t.throws(() => decodeSuperblock(stray), {message: /extension/});
});

test('it says where inner blocks are encrypted, and not where there is no key for them', t => {
	const superblock: Superblock = {
		...sample(),
		cipher: 'aes-256-xts',
		containerId: new Uint8Array(16).fill(9),
		innerBlocks: 'encrypted',
	};
	const encoded = encodeSuperblock(superblock);
	t.deepEqual(decodeSuperblock(encoded), superblock);
	t.is(encoded.readUInt32LE(3773), 1);
	t.is(encodeSuperblock({...superblock, innerBlocks: undefined}).readUInt32LE(3773), 0);
	t.throws(() => decodeSuperblock(encodeSuperblock({...superblock, flushLog: {firstPba: 9, blockCount: 1}})), {
		message: /extension/,
	});
	encoded.writeUInt32LE(2, 3773);
	t.throws(() => decodeSuperblock(encoded), {message: /extension/});
	t.throws(() => decodeSuperblock(encodeSuperblock({...superblock, cipher: 'none'})), {message: /extension/});
});

const malformed: ReadonlyArray<{name: string; change: (block: Buffer) => void; message: RegExp}> = [
	{name: 'a state of the future', change: block => void block.writeUInt8(9, 0), message: /state is 9/},
	{name: 'no current key', change: block => void block.writeUInt32LE(0, 93), message: /no current key/},
	{
		name: 'a valid flag of 2',
		change: block => void block.writeUInt8(2, snapshotsOffset + 60),
		message: /valid flag of snapshot slot 0 is 2/,
	},
	{
		name: 'a keep flag of 255',
		change: block => void block.writeUInt8(255, snapshotsOffset + 65),
		message: /keep flag of snapshot slot 0/,
	},
	{
		name: 'a current snapshot beyond the slots',
		change: block => void block.writeUInt32LE(48, 3561),
		message: /current snapshot slot 48/,
	},
	{
		name: 'a degree that is no power of two',
		change: block => void block.writeUInt32LE(63, 3565),
		message: /degree is 63/,
	},
	{
		name: 'a first PBA that is not 0',
		change: block => void block.writeBigUInt64LE(1n, 3569),
		message: /first PBA is 1/,
	},
	{
		name: 'a number of PBAs beyond everything',
		change: block => void block.writeBigUInt64LE(2n ** 63n, 3577),
		message: /number of PBAs/,
	},
	{
		name: 'a snapshot root behind the end',
		change: block => void block.writeBigUInt64LE(2295n, snapshotsOffset + 32),
		message: /points to PBA 2295/,
	},
	{
		name: 'a free tree without leaves',
		change: block => void block.writeBigUInt64LE(0n, 3585 + 56),
		message: /free tree: there are 0 leaves/,
	},
	{
		name: 'a meta tree of level 6',
		change: block => void block.writeUInt32LE(6, 3649 + 48),
		message: /meta tree: the max level is 6/,
	},
	{
		name: 'a free tree root behind the end',
		change: block => void block.writeBigUInt64LE(5000n, 3585 + 8),
		message: /free tree points to PBA 5000/,
	},
	{
		name: 'a meta tree root among the superblocks',
		change: block => void block.writeBigUInt64LE(7n, 3649 + 8),
		message: /meta tree points to PBA 7/,
	},
	{name: 'an unknown extension', change: block => void block.writeUInt8(1, 4095), message: /extension/},
	{
		name: 'an unknown format version',
		change: block => void Buffer.from('CBE ext\0\x03\0\0\0\x01\0\0\0', 'latin1').copy(block, 3713),
		message: /format version 3, this version reads up to 2; use a newer one/,
	},
	{
		name: 'an unknown cipher',
		change: block => void Buffer.from('CBE ext\0\x01\0\0\0\x63\0\0\0', 'latin1').copy(block, 3713),
		message: /cipher number 99/,
	},
];

for (const {name, change, message} of malformed) {
	test(`a superblock with ${name} is refused with its reason`, t => {
		const encoded = encodeSuperblock(sample());
		change(encoded);
		t.throws(() => decodeSuperblock(encoded), {instanceOf: SuperblockError, message});
	});
}

test('whatever stands in any field, the superblock is refused or survives a round trip', t => {
	const encoded = encodeSuperblock(sample());
	const values = [0, 1, 2, 0x7f, 0x80, 0xff];
	let refusedCount = 0;
	let acceptedCount = 0;
	for (let offset = 0; offset < blockSize; offset++) {
		for (const value of values) {
			const changed = Buffer.from(encoded);
			changed[offset] = value;
			try {
				const again = encodeSuperblock(decodeSuperblock(changed));
				if (!encodeSuperblock(decodeSuperblock(again)).equals(again)) {
					t.fail(`byte ${offset} = ${value} does not survive a round trip`);
				}

				acceptedCount++;
			} catch (error) {
				if (!(error instanceof SuperblockError)) {
					throw error;
				}

				refusedCount++;
			}
		}
	}

	t.true(refusedCount > 1000 && acceptedCount > 1000, `${refusedCount} refused, ${acceptedCount} accepted`);
});

test('an emptied slot shares no sector with a superblock', t => {
	const sectorsOf = (block: Buffer): string[] =>
		Array.from({length: blockSize / 512}, (_, i) => block.toString('latin1', i * 512, (i + 1) * 512));
	const [emptied] = sectorsOf(encodeEmptiedSlot());
	t.true(isUnusedSlot(encodeEmptiedSlot()));
	for (const name of goldenNames) {
		for (const slot of slotsOf(loadGolden(name).image).filter(block => !isUnusedSlot(block))) {
			t.false(sectorsOf(slot).includes(emptied));
		}
	}
});

test('slots follow each other in a ring', t => {
	t.deepEqual(
		[0, 6, 7].map(slot => nextSlot(slot)),
		[1, 7, 0],
	);
});
