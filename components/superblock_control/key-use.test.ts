import test from 'ava';
import type {Superblock} from '../lib/format/superblock.js';
import {KeyUse, sealedBlockCountMax, withReservedCounts} from './key-use.js';

const key = {wrapped: new Uint8Array(32), id: 1};

/** What KeyUse looks at. */
function superblockOf(changes: Partial<Superblock> = {}): Superblock {
	return {cipher: 'aes-256-gcm', previousKey: undefined, currentKey: key, ...changes} as unknown as Superblock;
}

/** A device that secures whenever it is asked to. */
function device(superblock: Superblock) {
	let secured = superblock;
	const use = new KeyUse(superblock);
	let checkpoints = 0;
	return {
		use,
		get secured() {
			return secured;
		},
		get checkpoints() {
			return checkpoints;
		},
		async secure(edit: (superblock: Superblock) => Superblock = same => same) {
			checkpoints++;
			secured = withReservedCounts(edit(secured), use.counts);
			use.follow(secured);
			use.noteSecured(secured);
		},
		async write(blockCount: number) {
			await use.admit(blockCount, async () => this.secure());
		},
	};
}

test('what a secured superblock names is never less than what was sealed', async t => {
	const one = device(superblockOf());
	let written = 0;
	for (let i = 0; i < 20_000; i++) {
		await one.write(256);
		written += 256;
		t.true((one.secured.sealedBlockCounts?.current ?? 0) >= written);
	}

	// A reservation lasts for thousands of writes.
	t.true(one.checkpoints < 20);
	const reopened = device(one.secured);
	t.true(reopened.use.blockCount >= written);
});

test('during a rekeying both keys are counted, and the new one from zero', async t => {
	const one = device(superblockOf());
	await one.write(1000);
	const before = one.use.blockCount;
	await one.secure(superblock => ({...superblock, previousKey: key, currentKey: {...key, id: 2}}));
	t.is(one.use.blockCount, 0);
	await one.write(500);
	t.true(one.use.blockCount >= 500);
	t.true((one.secured.sealedBlockCounts?.previous ?? 0) >= before + 500);
	await one.secure(superblock => ({...superblock, previousKey: undefined}));
	t.is(one.secured.sealedBlockCounts?.previous, 0);
	await one.write(500);
	t.is(one.checkpoints, 3);
});

test('at the limit nothing more is sealed', async t => {
	const one = device(superblockOf({sealedBlockCounts: {current: sealedBlockCountMax - 100, previous: 0}}));
	await one.secure();
	await one.write(50);
	await t.throwsAsync(one.write(1), {code: 'no_space', message: /when a rekeying has ended/});
});

test('other ciphers have no limit and leave no trace', async t => {
	const one = device(superblockOf({cipher: 'aes-256-xts'}));
	await one.write(2 ** 40);
	await one.secure();
	t.is(one.secured.sealedBlockCounts, undefined);
	t.is(one.checkpoints, 1);
});
