import test from 'ava';
import {loadGolden} from '../../test/support/golden.js';
import {MemoryAnchor} from '../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {connectMemory, runTool} from '../../test/support/tool-run.js';
import {readSuperblockSearch} from '../container/open-container.js';
import {ContainerError, type Secured} from '../container/open-superblock.js';
import {clearBeyond, findCandidate, refusalOf} from './adoption.js';
import {nextSlot} from '../container/superblock.js';
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
	const candidate = async () => findCandidate(clients, await search(), {secured: secured!, refusal: new ContainerError('rolled_back', '')});
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
	medium.image[(description.superblock.free_tree.pba * 4096) + 7] ^= 1;
	t.is((await candidate()).superblock.lastSecuredGeneration, newestGeneration - 1);
	medium.image.fill(1, 8 * 4096);
	await t.throwsAsync(candidate(), {message: /no other state that was written with this trust anchor and whose trees match/});
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
