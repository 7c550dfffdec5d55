import test from 'ava';
import {loadGolden} from '../../test/support/golden.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {connectMemory, runTool} from '../../test/support/tool-run.js';
import {superblockSlotCount} from '../lib/format/geometry.js';
import {layOut} from '../lib/format/initialize.js';
import {labelOf} from '../lib/format/label.js';
import {readSuperblockSearch} from '../lib/container/open-container.js';
import {openSuperblock} from '../lib/format/open-superblock.js';
import {ContainerError, type Secured} from '../lib/format/superblock-search.js';
import {sealSuperblock} from '../lib/container/superblock-authenticator.js';
import {clearBeyond, findCandidate, recordOf, refusalOf} from './adoption.js';
import {nextSlot} from '../lib/format/superblock.js';
import adoptTool from './component.js';

/** The newest generation in the image used here. */
const newestGeneration = 6;

function expecting(generation: number | null): Secured {
	return {hash: new Uint8Array(32).fill(1), generation, creating: false};
}

function world(secured: Secured | null) {
	const {image, description} = loadGolden('d64_b_snaps');
	const medium = new MemoryMedium(image);
	const anchor = new MemoryAnchor({secured, initialized: true});
	const clients = connectMemory({medium, anchor});
	const search = async () => readSuperblockSearch(clients);
	const candidate = async () =>
		findCandidate(clients, await search(), {secured: secured!, refusal: new ContainerError('rolled_back', '')});
	return {medium, anchor, clients, description, search, candidate};
}

test('the newest older state is found', async t => {
	const {candidate, description} = world(expecting(9));
	const {slot, superblock} = await candidate();
	t.is(superblock.lastSecuredGeneration, newestGeneration);
	t.is(slot, description.superblock.superblock_slot);
});

test('a superblock that claims the expected generation was altered, and an older one is taken', async t => {
	const {candidate} = world(expecting(newestGeneration));
	t.is((await candidate()).superblock.lastSecuredGeneration, newestGeneration - 1);
});

test('a state with a damaged root is passed over', async t => {
	const {candidate, medium, description} = world(expecting(9));
	medium.image[description.superblock.free_tree.pba * 4096 + 7] ^= 1;
	t.is((await candidate()).superblock.lastSecuredGeneration, newestGeneration - 1);
	medium.image.fill(1, 8 * 4096);
	await t.throwsAsync(candidate(), {
		message: /no other state that was written with this trust anchor and whose trees match/,
	});
});

test('a newer image, an anchor that never secured anything and an empty image are refused', async t => {
	for (const secured of [expecting(newestGeneration - 1), null]) {
		const search = await world(secured).search();
		t.throws(() => refusalOf(search), {message: /foreign/});
	}

	const {medium, search} = world(expecting(9));
	medium.image.fill(0, 0, 8 * 4096);
	const empty = await search();
	t.throws(() => refusalOf(empty), {message: /no container/});
});

test('an anchor that cannot open the keys has no say, whatever is confirmed', async t => {
	const {medium, anchor} = world(expecting(9));
	const {exitValue, message} = await runTool(adoptTool, {medium, anchor, config: {confirm: 'yes'}});
	t.is(exitValue, -1);
	t.regex(message ?? '', /shares no key/);
	t.deepEqual(anchor.history, []);
});

test('what is left of an announced superblock is emptied, as the anchor forgets that it was announced', async t => {
	for (const intended of [new Uint8Array(32).fill(2), null]) {
		const {medium, anchor, clients, search, candidate} = world(expecting(9));
		anchor.intended = intended;
		const found = await candidate();
		const next = nextSlot(found.slot) * 4096;
		medium.image.fill(1, next, next + 4096);
		const before = Buffer.from(medium.image);
		await clearBeyond(clients, await search(), found);
		t.is(medium.image[next], intended ? 0 : 1);
		medium.image.copy(before, next, next, next + 4096);
		t.true(medium.image.equals(before));
	}
});

/**
 * A container with authenticators, of which nothing but superblocks lies on the medium, and an anchor that knows a
 * newer state.
 */
async function authenticatedWorld() {
	const plan = {
		virtualBlockDevice: {leafCount: 4, maxLevel: 1, degree: 4},
		freeTree: {leafCount: 20, maxLevel: 2, degree: 8},
		cipher: 'aes-256-xts',
		containerId: new Uint8Array(16).fill(9),
		key: {wrapped: new Uint8Array(32).fill(7), id: 1},
	} as const;
	const superblock = await layOut(plan, {write: async () => undefined});
	const anchor = new MemoryAnchor({secured: expecting(9), initialized: true});
	const medium = new MemoryMedium(Buffer.alloc(superblock.pbaCount * 4096));
	const clients = connectMemory({medium, anchor});
	for (const slot of [0, 1]) {
		medium.image.set(
			await sealSuperblock(clients.trustAnchor, {...superblock, lastSecuredGeneration: slot}),
			slot * 4096,
		);
	}

	return {
		medium,
		candidate: async () =>
			findCandidate(clients, await readSuperblockSearch(clients), {
				secured: expecting(9),
				refusal: new ContainerError('rolled_back', ''),
			}),
	};
}

test('a state whose roots were never written is whole', async t => {
	const {candidate} = await authenticatedWorld();
	const {slot, isAuthentic} = await candidate();
	t.is(slot, 1);
	t.true(isAuthentic);
});

test('superblocks that were altered or made without the anchor are passed over, and refused where there are no others', async t => {
	const {medium, candidate} = await authenticatedWorld();
	medium.image.writeBigUInt64LE(7n, 4096 + 3553);
	t.is((await candidate()).slot, 0);
	// One of a version that carries no authenticator is none that this anchor has written.
	medium.image.writeUInt32LE(1, 3721);
	medium.image.fill(0, 3777, 4096);
	await t.throwsAsync(candidate(), {
		message:
			/no other state that was written with this trust anchor.*the superblock in slot 0, 1 was not made with this trust anchor/,
	});
});

test('the hash that is anchored is that of the bytes in the slot, whatever no reader looks at', async t => {
	const {medium, candidate, description} = world(expecting(9));
	const first = description.superblock.superblock_slot * 4096;
	const before = await candidate();
	// What is zero behind the fields of a snapshot.
	medium.image[first + 97 + 67] ^= 1;
	const after = await candidate();
	t.deepEqual(after.superblock, before.superblock);
	const hash = labelOf(medium.image.subarray(first, first + 4096));
	t.deepEqual(Buffer.from(recordOf(after).hash), hash);
	const {slot, hash: opened} = openSuperblock({
		slots: Array.from({length: superblockSlotCount}, (_, i) => medium.image.subarray(i * 4096, (i + 1) * 4096)),
		secured: recordOf(after),
		log: undefined,
		mediumBlockCount: medium.image.length / 4096,
	});
	t.is(slot, after.slot);
	t.deepEqual(Buffer.from(opened), hash);
});
