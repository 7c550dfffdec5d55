import test from 'ava';
import {WrittenLog} from '../../../test/support/written-log.js';
import {MemoryAnchor} from '../../../test/support/memory-anchor.js';
import {MemoryMedium} from '../../../test/support/memory-medium.js';
import {connectMemory} from '../../../test/support/tool-run.js';
import {createContainer} from './create.js';
import {ContainerDimensions} from '../format/dimensions-config.js';
import {blockSize, freshPbaCount} from '../format/geometry.js';
import {labelOf} from '../format/label.js';
import {openContainer} from './open-container.js';
import {ContainerError} from '../format/superblock-search.js';
import {snapshotDirectoryBlockCount} from '../format/superblock.js';
import {encodeUnusedSlot} from '../format/superblock-codec.js';

const plan = ContainerDimensions.parse({vbd_leaves: '200', vbd_max_level: '2', ft_leaves: '1024', ft_max_level: '2'});
const pbaCount =
	freshPbaCount(plan.virtualBlockDevice, plan.freeTree) + plan.flushLogBlockCount + snapshotDirectoryBlockCount;

class Crash extends Error {}

function world({
	image = Buffer.alloc(0),
	growable = true,
	anchor = new MemoryAnchor(),
}: {image?: Buffer; growable?: boolean; anchor?: MemoryAnchor} = {}) {
	const medium = new MemoryMedium(image, {growable});
	const lines: string[] = [];
	let now = 0;
	const env = {
		log: (text: string) => void lines.push(text),
		now: () => (now += 700),
		randomBytes: (count: number) => new Uint8Array(count).fill(3),
	};
	const create = async (chosen = plan) => createContainer({...connectMemory({medium, anchor}), env, plan: chosen});
	return {medium, anchor, lines, create, open: async () => openContainer(connectMemory({medium, anchor}))};
}

test('an empty growable medium becomes a container that opens', async t => {
	const {medium, anchor, create, open} = world();
	t.deepEqual(await create(), {pbaCount});
	t.is(medium.image.length, pbaCount * blockSize);
	t.deepEqual(
		anchor.history.map(({generation, creating}) => ({generation, creating})),
		[
			{generation: 0, creating: true},
			{generation: 0, creating: false},
		],
	);
	const {slot, superblock} = await open();
	t.is(slot, 0);
	t.like(superblock, {state: 'normal', cipher: 'aes-256-xts', pbaCount, containerId: new Uint8Array(16).fill(3)});
	t.deepEqual(superblock.currentKey, {id: 1, wrapped: new Uint8Array(32).fill(7)});
});

test("a container of the original's cipher has no id", async t => {
	const {medium, create, open} = world();
	await create({...plan, cipher: 'aes-256-cbc-essiv', flushLogBlockCount: 0});
	t.true(medium.image.subarray(3713, blockSize).every(byte => byte === 0));
	const {superblock} = await open();
	t.is(superblock.cipher, 'aes-256-cbc-essiv');
});

test('a zeroed image that is large enough serves without growing', async t => {
	const {medium, create, open} = world({image: Buffer.alloc((pbaCount + 5) * blockSize), growable: false});
	await create();
	await open();
	t.is(medium.image.length, (pbaCount + 5) * blockSize);
});

test("a container of the original's form of 64 MiB and more shows its progress", async t => {
	const {lines, create} = world();
	await create(ContainerDimensions.parse({vbd_size: '256M', cipher: 'aes-256-cbc-essiv'}));
	t.true(lines.length > 0);
	t.regex(lines[0], /^creating the container: \d+ % \(\d+ of \d+ blocks\)$/);
});

test('a medium that is too small is refused with both sizes and stays as it is', async t => {
	const {anchor, medium, create} = world({image: Buffer.alloc(100 * blockSize), growable: false});
	await t.throwsAsync(create(), {
		instanceOf: ContainerError,
		message: new RegExp(`needs ${pbaCount} blocks .*, the image has 100 `),
	});
	t.true(medium.image.every(byte => byte === 0));
	t.false(anchor.initialized);
});

test('a read-only medium is refused', async t => {
	const anchor = new MemoryAnchor();
	const medium = new MemoryMedium(Buffer.alloc(0), {writable: false});
	const env = {log: () => undefined, now: () => 0, randomBytes: (count: number) => new Uint8Array(count)};
	await t.throwsAsync(createContainer({...connectMemory({medium, anchor}), env, plan}), {
		instanceOf: ContainerError,
		message: /read-only/,
	});
});

for (const occupied of [0, 1, 7, 8, 16, 1023, pbaCount - 1]) {
	test(`an image with something in block ${occupied} is never overwritten`, async t => {
		const image = Buffer.alloc(pbaCount * blockSize);
		image[occupied * blockSize + 4000] = 1;
		const before = Buffer.from(image);
		const {medium, anchor, create} = world({image});
		await t.throwsAsync(create(), {
			instanceOf: ContainerError,
			message: new RegExp(`block ${occupied} of the image is not empty`),
		});
		t.true(medium.image.equals(before));
		t.false(anchor.initialized);
	});
}

for (const secured of [null, {hash: new Uint8Array(32), generation: 0, creating: true}]) {
	test(`an anchor that exists already (${secured ? 'in creation' : 'made before'}) licenses nothing: somebody's data stays`, async t => {
		for (const [occupied, offset] of [
			[0, 1080],
			[8, 0],
			[16, 0],
			[1023, 0],
			[pbaCount - 1, 0],
		]) {
			const image = Buffer.alloc(pbaCount * blockSize);
			image[occupied * blockSize + offset] = 0x53;
			const before = Buffer.from(image);
			const anchor = new MemoryAnchor({secured});
			anchor.initialized = true;
			const {medium, create} = world({image, anchor});
			await t.throwsAsync(create(), {
				instanceOf: ContainerError,
				message: new RegExp(`block ${occupied} of the image is not empty`),
			});
			t.true(medium.image.equals(before));
		}
	});
}

test('what a creation marked is its own, though it was cut short; a block that is no part of a first superblock is not', async t => {
	const {medium, anchor, create, open} = world();
	let writes = 0;
	medium.before = operation => {
		if (operation === 'write' && writes++ === 2) {
			throw new Crash();
		}
	};
	await t.throwsAsync(create(), {instanceOf: Crash});
	medium.before = () => undefined;
	anchor.secured = {hash: new Uint8Array(32), generation: 0, creating: true};
	medium.image[1080] = 0x53;
	await t.throwsAsync(create(), {instanceOf: ContainerError, message: /block 0 of the image is not empty/});
	medium.image[1080] = 0;
	await create();
	await open();
});

test('a container in its first generation, with all that was flushed in its log, is never overwritten', async t => {
	const first = world();
	await first.create();
	const {
		superblock: {flushLog},
	} = await first.open();
	const log = new WrittenLog(flushLog!, labelOf(first.medium.image.subarray(0, blockSize)), 'plain');
	const {firstPba, data} = log.encode({vbas: [3], addresses: [100], leaves: [-1], labels: new Uint8Array(32)}, 1);
	first.medium.image.set(data, firstPba * blockSize);
	const before = Buffer.from(first.medium.image);
	const {medium, create} = world({
		image: first.medium.image,
		anchor: new MemoryAnchor({secured: {hash: new Uint8Array(32), generation: 0, creating: true}}),
	});
	await t.throwsAsync(create(), {instanceOf: ContainerError, message: /block 0 of the image is not empty/});
	t.true(medium.image.equals(before));
});

test('neither an anchor in use nor a container is ever replaced', async t => {
	const first = world();
	await first.create();
	const before = Buffer.from(first.medium.image);
	await t.throwsAsync(first.create(), {instanceOf: ContainerError, message: /secured a container already/});
	const otherImage = world({anchor: first.anchor});
	await t.throwsAsync(otherImage.create(), {instanceOf: ContainerError, message: /secured a container already/});
	const otherAnchor = world({image: first.medium.image});
	await t.throwsAsync(otherAnchor.create(), {instanceOf: ContainerError, message: /not empty/});
	t.true(first.medium.image.equals(before));
	t.is(otherImage.medium.image.length, 0);
});

test('a creation that is cut short at any operation leaves a container or can be begun anew', async t => {
	let crashPoint = 0;
	for (let completed = false; !completed; crashPoint++) {
		const {medium, anchor, create, open} = world();
		let step = 0;
		medium.before = operation => {
			if (operation !== 'read' && step++ === crashPoint) {
				throw new Crash();
			}
		};
		const outcome = await create().catch(() => 'crashed');
		completed = outcome !== 'crashed';
		medium.before = () => undefined;
		await open().catch(async () => create());
		const {superblock} = await open();
		t.is(superblock.pbaCount, pbaCount);
		t.is(anchor.secured?.generation, 0);
	}

	t.true(crashPoint >= 5);
});

test('a torn first superblock counts as an interrupted creation', async t => {
	const {medium, anchor, create, open} = world();
	await create();
	medium.image.fill(0, 512, blockSize);
	anchor.secured = {hash: anchor.history[0].hash, generation: 0, creating: true};
	await t.throwsAsync(open(), {instanceOf: ContainerError, message: /interrupted/});
	await create();
	t.true(labelOf(medium.image.subarray(0, blockSize)).equals(anchor.history[3].hash));
	await open();
});

test("an anchor in creation does not license overwriting somebody else's container", async t => {
	const first = world();
	await first.create();
	first.medium.image.set(encodeUnusedSlot(), 7 * blockSize);
	first.medium.image.writeBigUInt64LE(5n, 3553);
	const {create} = world({
		image: first.medium.image,
		anchor: new MemoryAnchor({secured: {hash: new Uint8Array(32), generation: 0, creating: true}}),
	});
	await t.throwsAsync(create(), {instanceOf: ContainerError, message: /block 0 of the image is not empty/});
});
