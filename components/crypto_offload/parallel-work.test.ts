import {randomBytes} from 'node:crypto';
import test, {type ExecutionContext} from 'ava';
import {TestEnvironment} from '../../test/support/test-environment.js';
import {startProvider} from '../../test/support/providers.js';
import {SeededRandom} from '../../test/support/seeded-random.js';
import {LeasePool} from '../../runtime/transport/lease-pool.js';
import {cpusOfOwnThread, sharedMicroseconds} from '../../runtime/sdk/own-thread.js';
import {EvpSuite} from '../lib/crypto/evp-suite.js';
import {loadLibcrypto, type Libcrypto} from '../lib/crypto/libcrypto.js';
import {OwnThreadWork} from '../lib/crypto/batch-work.js';
import {crypto} from '../sessions/crypto.js';
import {CipherThreads} from './cipher-pool.js';
import {CostModel} from './cost-model.js';
import {SharingSuite} from './shared-key.js';
import {ParallelWork} from './parallel-work.js';

const blockSize = 4096;
const payload = new LeasePool(2 ** 30);
const memory = (length: number) => payload.lease(length).bytes;

async function libcryptoOf(): Promise<Libcrypto> {
	const {libcrypto, reason} = await loadLibcrypto();
	if (!libcrypto) {
		throw new Error(reason);
	}

	return libcrypto;
}

interface Bench {
	readonly suite: SharingSuite;
	readonly threads: CipherThreads;
	readonly work: ParallelWork;
	readonly warnings: string[];
	/** The same work on one thread. */
	readonly oracle: {readonly suite: EvpSuite; readonly work: OwnThreadWork};
}

/** What helps pays, or does not, whatever was measured. */
class FixedModel extends CostModel {
	readonly #helperCount: number;

	constructor(helperCount: number) {
		super();
		this.#helperCount = helperCount;
	}

	override helpersFor(_kind: string, blockCount: number, freeCount: number): number {
		return blockCount < 16 ? 0 : Math.min(this.#helperCount, freeCount);
	}
}

interface StartOptions {
	readonly threadCount: number;
	readonly model?: CostModel;
	readonly libcrypto?: Libcrypto;
}

async function start(
	t: ExecutionContext,
	{threadCount, model = new FixedModel(threadCount), libcrypto}: StartOptions,
): Promise<Bench> {
	const warnings: string[] = [];
	const threads = new CipherThreads(threadCount, {cpus: [], warn: text => void warnings.push(text)});
	await threads.prepare();
	const suite = new SharingSuite(new EvpSuite(libcrypto ?? (await libcryptoOf())));
	const work = new ParallelWork(suite, {threads, model, clock: sharedMicroseconds});
	const oracleSuite = new EvpSuite(await libcryptoOf());
	t.teardown(async () => {
		await work.settle();
		await threads.stop();
	});
	return {suite, threads, work, warnings, oracle: {suite: oracleSuite, work: new OwnThreadWork(oracleSuite)}};
}

/** Blocks at these addresses, each with a VBA and a generation of its own. */
function placed(addresses: number[]): {addresses: number[]; vbas: number[]; generations: number[]} {
	return {addresses, vbas: addresses.map((_, i) => i), generations: addresses.map((_, i) => i + 1)};
}

/** Labels with random nonces, as the server prepares them. */
function nonceLabels(blockCount: number): Uint8Array {
	const labels = new Uint8Array(blockCount * 32);
	for (let i = 0; i < blockCount; i++) {
		labels.set(randomBytes(12), i * 32 + 16);
	}

	return labels;
}

/** Seals one batch both ways, alters some blocks, and opens it both ways. */
async function roundTrip(
	t: ExecutionContext,
	{suite, work, oracle}: Bench,
	{seed, blockCount}: {seed: number; blockCount: number},
): Promise<void> {
	const random = new SeededRandom(seed);
	const cipher = (['aes-256-xts', 'aes-256-cbc-essiv', 'aes-256-gcm'] as const)[seed % 3];
	const blockKey = Buffer.alloc(32, seed + 1);
	const key = suite.prepare(cipher, blockKey, 1)!;
	const oracleKey = oracle.suite.prepare(cipher, blockKey, 1)!;
	const addresses = Array.from({length: blockCount}, () => random.below(2 ** 31));
	const whole = memory(blockCount * blockSize);
	whole.set(randomBytes(whole.length));
	const plain: Buffer[] = [];
	for (let at = 0; at < blockCount;) {
		const count = Math.min(blockCount - at, random.below(70));
		plain.push(whole.subarray(at * blockSize, (at + count) * blockSize));
		at += count;
	}

	const [sealed, expectedSealed] = [memory(whole.length), Buffer.alloc(whole.length)];
	const labels = nonceLabels(blockCount);
	const expectedLabels = Uint8Array.from(labels);
	await work.seal(key, {...placed(addresses), plain, sealed}, labels);
	await oracle.work.seal(oracleKey, {...placed(addresses), plain, sealed: expectedSealed}, expectedLabels);
	t.true(sealed.equals(expectedSealed));
	t.deepEqual(labels, expectedLabels);
	const altered = [...new Set(Array.from({length: random.below(5)}, () => random.below(blockCount)))].sort(
		(a, b) => a - b,
	);
	for (const index of altered) {
		sealed[index * blockSize + 7] ^= 1;
	}

	const original = Buffer.from(whole);
	whole.fill(0xee);
	t.deepEqual(await work.open(key, {...placed(addresses), plain, sealed}, labels), altered);
	for (const index of altered) {
		original.fill(0, index * blockSize, (index + 1) * blockSize);
	}

	t.true(whole.equals(original));
	key.wipe();
	oracleKey.wipe();
}

const sizes = [1, 3, 31, 33, 64, 255, 256, 257, 700];

test('batches of all sizes at once have the results of one thread', async t => {
	const bench = await start(t, {threadCount: 2});
	for (let round = 0; round < 4; round++) {
		await Promise.all(
			sizes.map(async (blockCount, i) => roundTrip(t, bench, {seed: round * sizes.length + i, blockCount})),
		);
	}

	await untilShared(t, bench);
	t.true(bench.work.counts.own > 0);
	t.deepEqual(bench.warnings, []);
});

/** Until the pool has done something of a batch: on a busy machine its threads may come too late again and again. */
async function untilShared(t: ExecutionContext, bench: Bench): Promise<void> {
	for (let round = 0; bench.work.counts.shared === 0 && round < 200; round++) {
		await roundTrip(t, bench, {seed: round, blockCount: 2000});
	}

	t.true(bench.work.counts.shared > 0);
}

test('what nobody helps with is done at once, without a promise', async t => {
	const {suite, work, threads} = await start(t, {threadCount: 1, model: new FixedModel(0)});
	const key = suite.prepare('aes-256-xts', Buffer.alloc(32, 1), 1)!;
	const plain = memory(256 * blockSize);
	const batch = {...placed(Array.from({length: 256}, (_, i) => i)), plain: [plain], sealed: memory(plain.length)};
	const labels = new Uint8Array(256 * 32);
	t.is(work.seal(key, batch, labels), undefined);
	t.deepEqual(work.open(key, batch, labels), []);
	t.is(threads.taskCount, 0);
	t.deepEqual(work.counts, {own: 512, shared: 0});
	key.wipe();
});

test('a large batch that no thread is free for lets others have their turn', async t => {
	const bench = await start(t, {threadCount: 1, model: new FixedModel(0)});
	let turnCount = 0;
	let isOver = false;
	const turn = () => {
		turnCount++;
		if (!isOver) {
			setImmediate(turn);
		}
	};

	turn();
	await roundTrip(t, bench, {seed: 3, blockCount: 2000});
	isOver = true;
	t.true(turnCount > 4, `${turnCount}`);
	t.is(bench.threads.taskCount, 0);
});

test('threads that die are replaced, and what they leave behind is done', async t => {
	const bench = await start(t, {threadCount: 2});
	for (let round = 0; bench.threads.deathCount === 0 && round < 50; round++) {
		const working = roundTrip(t, bench, {seed: round, blockCount: 2000});
		// The pool has its tasks by now.
		await new Promise(resolve => {
			setImmediate(resolve);
		});
		await bench.threads.endOne();
		await working;
		// Node aborts where a thread is ended while it loads modules, so every replacement has to be through with that.
		await bench.threads.prepare();
	}

	t.true(bench.threads.deathCount > 0);
	await roundTrip(t, bench, {seed: 1, blockCount: 512});
	t.regex(bench.warnings[0], /^a pool thread did not finish its task \(.*it is done by others$/);
});

test('a thread that comes too late finds its contexts wiped and does not use them', async t => {
	const {suite, work, threads} = await start(t, {threadCount: 1});
	const key = suite.prepare('aes-256-gcm', Buffer.alloc(32, 1), 1)!;
	const plain = memory(16 * blockSize);
	const batch = {...placed(Array.from({length: 16}, (_, i) => i)), plain: [plain], sealed: memory(plain.length)};
	const labels = nonceLabels(16);
	// So few blocks are mostly done before the thread has woken up.
	await work.seal(key, batch, labels);
	const sealed = Buffer.from(batch.sealed);
	key.wipe();
	batch.sealed.fill(0);
	await work.settle();
	t.is(threads.unansweredCount, 0);
	t.is(threads.deathCount, 0);
	t.true(batch.sealed.every(byte => byte === 0));
	t.false(sealed.every(byte => byte === 0));
});

test('where libcrypto fails the batch does, once nobody works on it, and the next one does not', async t => {
	const libcrypto = await libcryptoOf();
	let isBroken = false;
	const bench = await start(t, {
		threadCount: 1,
		libcrypto: {
			...libcrypto,
			cipherUpdate: (...parameters) => (isBroken ? 0 : libcrypto.cipherUpdate(...parameters)),
		},
	});
	const key = bench.suite.prepare('aes-256-xts', Buffer.alloc(32, 1), 1)!;
	const plain = memory(600 * blockSize);
	const batch = {...placed(Array.from({length: 600}, (_, i) => i)), plain: [plain], sealed: memory(plain.length)};
	isBroken = true;
	// libcrypto is only broken for this thread, which on a busy machine may find that the other one has done
	// everything.
	let failure: unknown;
	for (let attempt = 0; attempt < 20 && failure === undefined; attempt++) {
		failure = await work(bench).then(
			() => undefined,
			(error: unknown) => error,
		);
	}

	t.regex(String(failure), /EVP_CipherUpdate failed/);
	isBroken = false;
	await work(bench);
	await bench.work.settle();
	key.wipe();

	async function work({work: parallel}: Bench): Promise<void> {
		await parallel.seal(key, batch, new Uint8Array(600 * 32));
	}
});

test('payload that is not shared, and work in place, stays on the own thread', async t => {
	const {suite, work, threads} = await start(t, {threadCount: 1});
	const key = suite.xts(Buffer.alloc(64, 1).fill(2, 32));
	const addresses = Array.from({length: 100}, (_, i) => i);
	const unshared = randomBytes(100 * blockSize);
	const inPlace = memory(unshared.length);
	inPlace.set(unshared);
	const sealed = Buffer.alloc(unshared.length);
	const labels = [new Uint8Array(3200), new Uint8Array(3200)];
	await work.seal(key, {...placed(addresses), plain: [unshared], sealed}, labels[0]);
	await work.seal(key, {...placed(addresses), plain: [inPlace], sealed: inPlace}, labels[1]);
	t.deepEqual(labels[0], labels[1]);
	t.true(sealed.equals(inPlace));
	t.deepEqual(await work.open(key, {...placed(addresses), plain: [inPlace], sealed: inPlace}, labels[1]), []);
	t.true(inPlace.equals(unshared));
	t.is(threads.taskCount, 0);
	key.wipe();
});

test('wiping a key frees the contexts of all threads, and not while one of them works', async t => {
	const libcrypto = await libcryptoOf();
	const alive = new Set<number>();
	const counting: Libcrypto = {
		...libcrypto,
		contextNew() {
			const context = libcrypto.contextNew();
			alive.add(Number(context));
			return context;
		},
		contextFree(context) {
			alive.delete(context);
			libcrypto.contextFree(context);
		},
	};
	const blockCount = 4096;
	const {suite, work} = await start(t, {threadCount: 2, libcrypto: counting});
	for (const cipher of ['aes-256-xts', 'aes-256-cbc-essiv', 'aes-256-gcm'] as const) {
		const key = suite.prepare(cipher, Buffer.alloc(32, 3), 1)!;
		// So large that the others are not done with it before this thread comes to the next line, even where it has to
		// wait for a CPU.
		const plain = memory(blockCount * blockSize);
		const batch = {
			...placed(Array.from({length: blockCount}, (_, i) => i)),
			plain: [plain],
			sealed: memory(plain.length),
		};
		const sealing = work.seal(key, batch, new Uint8Array(blockCount * 32));
		t.throws(
			() => {
				key.wipe();
			},
			{message: /while another thread used it/},
		);
		await sealing;
		t.true(alive.size >= 6);
		key.wipe();
		t.is(alive.size, 0);
		// A thread that has not answered yet is not asked for help with the next one.
		await work.settle();
	}
});

const cpus = cpusOfOwnThread();

(cpus.length > 1 ? test : test.skip)('the threads of the pool run where the configuration says', async t => {
	const cpu = cpus[cpus.length - 1];
	const {running} = await startProvider('crypto_offload', crypto, {
		env: new TestEnvironment(),
		config: {threads: '3', cpus: `${cpu}`},
	});
	t.teardown(async () => running.stop?.());
	t.like(running.status?.(), {pool_threads: 3, pool_cpus: `${cpu}`});
	t.deepEqual(cpusOfOwnThread(), cpus);
});

test('CPUs that are not there, and lists that are none, are refused', async t => {
	const env = new TestEnvironment();
	await t.throwsAsync(startProvider('crypto_offload', crypto, {env, config: {cpus: '0,1000'}}), {
		message: /its pool of 1 threads cannot start: CPU 1000 is not there or not allowed/,
	});
	await t.throwsAsync(startProvider('crypto_offload', crypto, {env, config: {cpus: '3-1'}}), {
		message: /a list of CPUs such as 0,2-3 is required/,
	});
	await t.throwsAsync(startProvider('crypto_offload', crypto, {env, config: {threads: '0'}}));
});
