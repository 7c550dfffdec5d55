import {randomBytes} from 'node:crypto';
import {availableParallelism} from 'node:os';
import {Worker} from 'node:worker_threads';
import test from 'ava';
import {wipeSecrets, type AnchorSecrets} from './anchor-secrets.js';
import {describeSlot, emptySlot, isAuthentic, isEmpty, isIntact, makeSlot, openSlot, resealSlot} from './key-slot.js';
import {scryptCpuMs} from './scrypt-measure.js';
import {
	calibrate,
	deriveSlotKey,
	isAcceptable,
	isMemoryChoice,
	isWeak,
	memoryBytes,
	type CostOptions,
	type Derivation,
} from './slot-derivation.js';

const cheap: Derivation = {kind: 'scrypt', logN: 10, r: 8, p: 1};

function someSecrets(): AnchorSecrets {
	return {
		authority: randomBytes(32),
		masterKeys: [
			{key: randomBytes(32), wrappedHash: randomBytes(32)},
			{key: randomBytes(32), wrappedHash: undefined},
		],
	};
}

async function passphraseSlot(secrets: AnchorSecrets, passphrase = 'open sesame'): Promise<Buffer> {
	return makeSlot(
		{kind: 'passphrase', name: 'läptop', derivation: cheap, secret: Buffer.from(passphrase)},
		secrets,
		count => randomBytes(count),
	);
}

test('what opens a slot gives what was put into it, and nothing else does', async t => {
	const secrets = someSecrets();
	const slot = await passphraseSlot(secrets);
	const description = describeSlot(slot)!;
	t.deepEqual(description, {kind: 'passphrase', name: 'läptop', derivation: cheap});
	t.deepEqual(await openSlot(slot, description, Buffer.from('open sesame')), secrets);
	t.is(await openSlot(slot, description, Buffer.from('open sesam')), 'wrong');
	t.true(isIntact(slot));
	t.true(isAuthentic(slot, secrets.authority));
	for (const secret of [secrets.authority, ...secrets.masterKeys.map(({key}) => key)]) {
		t.false(slot.includes(secret));
	}
});

test('two slots of the same passphrase have nothing in common but what everybody may know', async t => {
	const secrets = someSecrets();
	const [one, other] = [await passphraseSlot(secrets), await passphraseSlot(secrets)];
	t.notDeepEqual(one.subarray(24, 88), other.subarray(24, 88));
	t.notDeepEqual(one.subarray(120, 441), other.subarray(120, 441));
});

test('master keys are renewed without the passphrase, and who opened the slot before has not learned them', async t => {
	const secrets = someSecrets();
	const slot = await passphraseSlot(secrets);
	const next = {
		authority: secrets.authority,
		masterKeys: [{key: randomBytes(32), wrappedHash: randomBytes(32)}, ...secrets.masterKeys],
	};
	const resealed = resealSlot(slot, next, count => randomBytes(count));
	t.deepEqual(await openSlot(resealed, describeSlot(resealed)!, Buffer.from('open sesame')), next);
	// A slot of another passphrase does not open with what the first one held.
	const second = await passphraseSlot(next, 'another one');
	t.is(await openSlot(second, describeSlot(second)!, Buffer.from('open sesame')), 'wrong');
});

test('every flipped bit shows as damage; with the checksum made to fit it never opens to anything else', async t => {
	const secrets = someSecrets();
	const slot = await passphraseSlot(secrets);
	for (let bit = 0; bit < slot.length * 8; bit += 13) {
		const altered = Buffer.from(slot);
		altered[bit >> 3] ^= 1 << (bit & 7);
		t.false(isIntact(altered), `bit ${bit}`);
		const description = describeSlot(altered);
		const opened =
			description && bit < 480 * 8 ? await openSlot(altered, description, Buffer.from('open sesame')) : 'wrong';
		t.true(typeof opened === 'string', `bit ${bit}`);
	}
});

test('a slot that somebody planted is not authentic', async t => {
	const planted = await passphraseSlot(someSecrets());
	t.false(isAuthentic(planted, someSecrets().authority));
	t.true(isIntact(planted));
});

test('a file cannot ask for more memory or time than the bounds allow', async t => {
	const hostile: Derivation[] = [
		{kind: 'scrypt', logN: 31, r: 8, p: 1},
		{kind: 'scrypt', logN: 20, r: 8, p: 1},
		{kind: 'scrypt', logN: 14, r: 9, p: 1},
		{kind: 'scrypt', logN: 14, r: 0, p: 1},
		{kind: 'scrypt', logN: 14, r: 8, p: 0},
		{kind: 'scrypt', logN: 18, r: 8, p: 33},
		{kind: 'scrypt', logN: 0xffff_ffff, r: 0xffff_ffff, p: 0xffff_ffff},
	];
	for (const derivation of hostile) {
		t.false(isAcceptable(derivation));
		await t.throwsAsync(deriveSlotKey(Buffer.from('x'), Buffer.alloc(32), derivation), {message: /bounds/});
	}

	t.true(memoryBytes({logN: 19, r: 8}) <= 512 * 2 ** 20);
	const slot = await passphraseSlot(someSecrets());
	slot.writeUInt32LE(30, 8);
	t.is(describeSlot(slot), undefined);
});

test('the cost of a guess: by what the machine is able to, never below the floor or what is replaced, unless it is asked for', async t => {
	/** A machine that takes so many milliseconds of CPU time for 16 MiB, and in proportion for more. */
	const machine =
		(msOf16MiB: number) =>
		async ({logN}: {logN: number}) =>
			msOf16MiB * 2 ** (logN - 14);
	const cost = async (msOf16MiB: number, options: Partial<CostOptions> = {}) => {
		const derivation = await calibrate({targetMs: 1000, memory: undefined, ...options}, machine(msOf16MiB));
		t.true(isAcceptable(derivation));
		return derivation;
	};

	t.deepEqual(await cost(40), {kind: 'scrypt', logN: 18, r: 8, p: 2}, 'a usual one: 256 MiB');
	t.deepEqual(await cost(100), {kind: 'scrypt', logN: 17, r: 8, p: 2});
	t.deepEqual(
		await cost(1000),
		{kind: 'scrypt', logN: 17, r: 8, p: 1},
		'a slow one, or a short time: not below 128 MiB',
	);
	t.deepEqual(await cost(40, {targetMs: 1}), {kind: 'scrypt', logN: 17, r: 8, p: 1});
	const replaced = {kind: 'scrypt', logN: 18, r: 8, p: 3} as const;
	t.deepEqual(await cost(1000, {replaced}), replaced, 'a slow machine does not weaken what is replaced');
	t.deepEqual(
		await cost(40, {replaced: {kind: 'scrypt', logN: 15, r: 8, p: 1}}),
		{kind: 'scrypt', logN: 18, r: 8, p: 2},
		'what was weak does not stay so',
	);
	t.deepEqual(await cost(40, {replaced: {kind: 'hkdf'}}), {kind: 'scrypt', logN: 18, r: 8, p: 2});
	t.deepEqual(
		await cost(1, {memory: 16 * 2 ** 20, replaced}),
		{kind: 'scrypt', logN: 14, r: 8, p: 200},
		'less memory is asked for: the time stays',
	);
	t.deepEqual(await cost(40, {memory: 512 * 2 ** 20}), {kind: 'scrypt', logN: 19, r: 8, p: 1});
	t.deepEqual(
		[1, 2, 3, 256, 512, 1024].map(mebibytes => isMemoryChoice(mebibytes * 2 ** 20)),
		[true, true, false, true, true, false],
	);
	t.deepEqual(
		[16, 17].map(logN => isWeak({kind: 'scrypt', logN, r: 8, p: 8})),
		[true, false],
	);
	t.false(isWeak({kind: 'hkdf'}));
});

test.serial('a busy machine measures what an idle one does', async t => {
	const parameters = {logN: 13, r: 8, maxmem: 64 * 2 ** 20};
	const wallMs = async (job: () => Promise<number>) => {
		const startedAt = performance.now();
		const cpuMs = await job();
		return {cpuMs, wallMs: performance.now() - startedAt};
	};

	const idle = Math.min(await scryptCpuMs(parameters), await scryptCpuMs(parameters));
	const busy = Array.from(
		{length: 4 * availableParallelism()},
		() => new Worker('for (;;) Math.random();', {eval: true}),
	);
	try {
		const runs = [];
		for (let i = 0; i < 3; i++) {
			runs.push(await wallMs(async () => scryptCpuMs(parameters)));
		}

		t.true(Math.min(...runs.map(run => run.cpuMs)) < 2.5 * idle, JSON.stringify({idle, runs}));
		t.true(runs.every(run => run.cpuMs < run.wallMs));
	} finally {
		await Promise.all(busy.map(async worker => worker.terminate()));
	}
});

test('more memory than may be had is said', async t => {
	await t.throwsAsync(scryptCpuMs({logN: 14, r: 8, maxmem: 2 ** 20}), {message: /memory/i});
});

test('empty slots are empty, and wiping wipes', async t => {
	t.true(isEmpty(Buffer.from(emptySlot)));
	t.is(describeSlot(Buffer.from(emptySlot)), undefined);
	const secrets = someSecrets();
	wipeSecrets(secrets);
	t.true(secrets.authority.every(byte => byte === 0));
	t.true(secrets.masterKeys.every(({key}) => key.every(byte => byte === 0)));
});
