import test from 'ava';
import {goldenNames, loadGolden} from '../../../test/support/golden.js';
import {blockSize, superblockSlotCount} from './geometry.js';
import {labelOf} from './label.js';
import {openSuperblock} from './open-superblock.js';
import {ContainerError, type ContainerErrorKind, type Secured} from './superblock-search.js';
import {encodeUnusedSlot, encodeSuperblock, decodeSuperblock} from './superblock-codec.js';

const {image, description} = loadGolden('d64_b_snaps');
const mediumBlockCount = image.length / blockSize;
const anchoredIndex = description.superblock.superblock_slot;
const goldenSlots = Array.from({length: superblockSlotCount}, (_, slot) =>
	image.subarray(slot * blockSize, (slot + 1) * blockSize),
);
const secured: Secured = {hash: labelOf(goldenSlots[anchoredIndex]), generation: 6, creating: false};
const empty = Array.from({length: superblockSlotCount}, () => new Uint8Array(blockSize));

function withSlot(index: number, change: (slot: Buffer) => void): Uint8Array[] {
	return goldenSlots.map((slot, i) => {
		const copy = Buffer.from(slot);
		if (i === index) {
			change(copy);
		}

		return copy;
	});
}

for (const name of goldenNames) {
	test(`${name}: the superblock that the anchor secured is found`, t => {
		const {image, description} = loadGolden(name);
		const {slot, superblock} = openSuperblock({
			slots: Array.from({length: superblockSlotCount}, (_, i) =>
				image.subarray(i * blockSize, (i + 1) * blockSize),
			),
			secured: {
				hash: Buffer.from(description.trust_anchor.superblock_hash_file, 'hex'),
				generation: null,
				creating: false,
			},
			log: undefined,
			mediumBlockCount: image.length / blockSize,
		});
		t.is(slot, description.superblock.superblock_slot);
		t.is(superblock.lastSecuredGeneration, description.superblock.last_secured_generation);
	});
}

test('the newest superblock does not count where the anchor expects an older one', t => {
	const older: Secured = {hash: labelOf(goldenSlots[4]), generation: 5, creating: false};
	t.is(openSuperblock({slots: goldenSlots, secured: older, log: undefined, mediumBlockCount}).slot, 4);
});

interface Refusal {
	readonly name: string;
	readonly slots: Uint8Array[];
	readonly secured: Secured | null;
	readonly mediumBlockCount?: number;
	readonly isVolatile?: boolean;
	readonly kind: ContainerErrorKind;
	readonly message: RegExp;
}

function expecting(generation: number | null, creating = false): Secured {
	return {hash: new Uint8Array(32).fill(1), generation, creating};
}

/** A superblock that the anchor secured although nobody can read it. */
const unreadable = withSlot(anchoredIndex, slot => void slot.writeUInt32LE(63, 3565));
const damaged = withSlot(anchoredIndex, slot => void slot.writeUInt32LE(63, 3565));
const stateless = withSlot(anchoredIndex, slot => void slot.writeUInt8(0, 0));

const refusals: Refusal[] = [
	{
		name: 'an empty image and a fresh anchor',
		slots: empty,
		secured: null,
		kind: 'no_container',
		message: /no container in the image; "runtime run cbe_init"/,
	},
	{
		name: 'an image of unused slots',
		slots: empty.map(() => encodeUnusedSlot()),
		secured: null,
		kind: 'no_container',
		message: /no container/,
	},
	{
		name: 'an empty image and an anchor in use',
		slots: empty,
		secured: expecting(6),
		kind: 'no_container',
		message: /expects generation 6/,
	},
	{
		name: 'memory that is empty and an anchor in use',
		slots: empty,
		secured: expecting(6),
		isVolatile: true,
		kind: 'no_container',
		message:
			/the medium is memory, which is empty at each start, and the trust anchor expects generation 6\. .*start with a new state directory \(--state DIR\)\. If this trust anchor was ever used with an image, it holds the only keys to it: keep it/,
	},
	{
		name: 'memory that is empty and a fresh anchor',
		slots: empty,
		secured: null,
		isVolatile: true,
		kind: 'no_container',
		message: /no container in the image; "runtime run cbe_init"/,
	},
	{
		name: 'memory with an older container',
		slots: goldenSlots,
		secured: expecting(9),
		isVolatile: true,
		kind: 'rolled_back',
		message: /an older copy of the image/,
	},
	{
		name: 'a medium of no blocks and an anchor in use',
		slots: empty,
		secured: expecting(null),
		mediumBlockCount: 0,
		kind: 'no_container',
		message: /expects one/,
	},
	{
		name: 'an older copy',
		slots: goldenSlots,
		secured: expecting(9),
		kind: 'rolled_back',
		message:
			/holds generation 6, the trust anchor expects generation 9: an older copy of the image or the image of another container was put back; put the newest one back/,
	},
	{
		name: 'another superblock of the same generation',
		slots: goldenSlots,
		secured: expecting(6),
		kind: 'damaged',
		message: /altered or damaged superblock of generation 6 in slot 5/,
	},
	{
		name: 'an older anchor',
		slots: goldenSlots,
		secured: expecting(3),
		kind: 'foreign',
		message: /foreign image or foreign trust anchor/,
	},
	{
		name: 'a fresh anchor and a container',
		slots: goldenSlots,
		secured: null,
		kind: 'foreign',
		message: /never secured/,
	},
	{
		name: 'an anchor that records no generation',
		slots: goldenSlots,
		secured: expecting(null),
		kind: 'rolled_back_or_foreign',
		message: /not the state that the trust anchor last secured/,
	},
	{
		name: 'a secured superblock that is damaged',
		slots: damaged,
		secured,
		kind: 'damaged',
		message: /generation 6 .* is missing.*slot 5: the degree is 63|slot 5: snapshot slot/,
	},
	{
		name: 'a secured superblock that cannot be decoded',
		slots: unreadable,
		secured: {...secured, hash: labelOf(unreadable[anchoredIndex])},
		kind: 'damaged',
		message: /slot 5 .* cannot be used/,
	},
	{
		name: 'a secured superblock of state 0',
		slots: stateless,
		secured: {...secured, hash: labelOf(stateless[anchoredIndex])},
		kind: 'damaged',
		message: /state is 0/,
	},
	{
		name: 'nothing but damaged superblocks',
		slots: empty.map((_, i) => (i === 2 ? unreadable[anchoredIndex] : empty[i])),
		secured,
		kind: 'damaged',
		message: /slot 2/,
	},
	{
		name: 'a truncated image',
		slots: goldenSlots,
		secured,
		mediumBlockCount: 2000,
		kind: 'truncated',
		message: /has 2000 blocks, the container needs 2295/,
	},
	{
		name: 'an image that ends within the superblocks',
		slots: goldenSlots.map((slot, i) => (i < 4 ? slot : empty[i])),
		secured,
		mediumBlockCount: 4,
		kind: 'truncated',
		message: /has 4 blocks/,
	},
	{
		name: 'a creation that was interrupted',
		slots: empty.map((slot, i) => (i === 0 ? slot : encodeUnusedSlot())),
		secured: expecting(0, true),
		kind: 'creation_interrupted',
		message: /interrupted/,
	},
	{
		name: 'a container in use and an anchor in creation',
		slots: goldenSlots,
		secured: expecting(0, true),
		kind: 'foreign',
		message: /foreign/,
	},
];

for (const {
	name,
	kind,
	message,
	slots,
	secured,
	mediumBlockCount: blockCount = mediumBlockCount,
	isVolatile = false,
} of refusals) {
	test(`refused as ${kind}: ${name}`, t => {
		const error = t.throws(
			() => openSuperblock({slots, secured, log: undefined, mediumBlockCount: blockCount, isVolatile}),
			{instanceOf: ContainerError, message},
		);
		t.is(error?.kind, kind);
	});
}

test('a fresh superblock opens in every slot', t => {
	const superblock = decodeSuperblock(goldenSlots[anchoredIndex]);
	const block = encodeSuperblock({...superblock, lastSecuredGeneration: 7});
	for (let slot = 0; slot < superblockSlotCount; slot++) {
		const slots = goldenSlots.map((old, i) => (i === slot ? block : old));
		t.is(
			openSuperblock({
				slots,
				secured: {hash: labelOf(block), generation: 7, creating: false},
				log: undefined,
				mediumBlockCount,
			}).slot,
			slot,
		);
	}
});
