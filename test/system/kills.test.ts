/**
 * The real program, killed again and again under writes, with snapshots, a rekeying and an extension going on. Whatever
 * was flushed is there afterwards; whatever was not is what it was or what was written, never anything else.
 */
import {existsSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {z} from 'zod';
import {requestControl} from '../../runtime/supervisor/control-client.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, runRuntime, startRuntime} from '../support/runtime-process.js';
import {SeededRandom} from '../support/seeded-random.js';

const blockSize = 4096;
/** Blocks that the test writes: 32 MiB. */
const blockCount = 8192;
const deployFile = join(projectFolder, 'deploy.xml');
const killCount = Number(process.env.CBE_KILLS ?? 5);
const seed = Number(process.env.CBE_KILLS_SEED ?? Date.now() % 1_000_000);

/** What a block may hold: what was flushed last, or anything written since. */
class WrittenBlocks {
	readonly #flushed = new Map<number, number>();
	readonly #since = new Map<number, Set<number>>();

	write(block: number, value: number): void {
		const values = this.#since.get(block) ?? new Set();
		this.#since.set(block, values.add(value));
	}

	/** Everything acknowledged before a flush that succeeded: the last value of each block. */
	flush(): void {
		for (const [block, values] of this.#since) {
			this.#flushed.set(block, [...values].at(-1) ?? 0);
		}

		this.#since.clear();
	}

	isAllowed(block: number, value: number): boolean {
		return value === (this.#flushed.get(block) ?? 0) || (this.#since.get(block)?.has(value) ?? false);
	}

	/** After a restart the device holds this. */
	settle(block: number, value: number): void {
		this.#flushed.set(block, value);
		this.#since.delete(block);
	}
}

function contentOf(block: number, value: number): Buffer {
	const content = Buffer.alloc(blockSize);
	if (value !== 0) {
		content.fill(value & 0xff);
		content.writeUInt32LE(value, 0);
		content.writeUInt32LE(block, 4);
	}

	return content;
}

async function control(
	stateDirectory: string,
	operation: string,
	request: Record<string, unknown> = {},
): Promise<unknown> {
	return requestControl(stateDirectory, {op: 'call', service: 'device_control', operation, request});
}

async function flush(peer: NbdPeer): Promise<number> {
	peer.request({command: 3});
	return (await peer.simpleReply()).error;
}

test(`${killCount} kills under load lose nothing that was flushed`, async t => {
	t.timeout(120_000 + killCount * 30_000);
	t.log(`seed ${seed}; repeat with CBE_KILLS_SEED=${seed} CBE_KILLS=${killCount}`);
	const random = new SeededRandom(seed);
	const stateDirectory = join(temporaryDirectory(), 'state');
	const written = new WrittenBlocks();
	let value = 0;
	for (let kill = 0; kill < killCount; kill++) {
		const runtime = await startRuntime(deployFile, stateDirectory);
		const peer = await NbdPeer.connect(join(stateDirectory, 'nbd.sock'));
		const {byteLength} = await peer.attach();
		t.true(byteLength >= 2 ** 30);
		await verify(peer, written, block => t.fail(`kill ${kill}: block ${block} holds what it must not hold`));
		const operations = [
			['create_snapshot'],
			['rekey'],
			['extend', {tree: 'vbd', blockCount: 1000}],
			['extend', {tree: 'ft', blockCount: 200}],
		] as const;
		const [operation, request] = operations[kill % operations.length];
		// Where the operation before is still going on after its interruption, this one is refused; both are wanted
		// here.
		await control(stateDirectory, operation, request).catch(() => undefined);
		await discardOldSnapshots(stateDirectory);
		const writeCount = 40 + random.below(300);
		for (let i = 0; i < writeCount; i++) {
			const block = random.below(blockCount - 16);
			const count = 1 + random.below(16);
			value++;
			for (let b = block; b < block + count; b++) {
				written.write(b, value);
			}

			const payload = Buffer.concat(Array.from({length: count}, (_, b) => contentOf(block + b, value)));
			t.is(await peer.write(block * blockSize, payload), 0);
			if (random.below(10) === 0) {
				t.is(await flush(peer), 0);
				written.flush();
			}
		}

		peer.request({command: 3});
		await runtime.stop('SIGKILL');
		peer.socket.destroy();
	}

	const runtime = await startRuntime(deployFile, stateDirectory);
	const peer = await NbdPeer.connect(join(stateDirectory, 'nbd.sock'));
	await peer.attach();
	await verify(peer, written, block => t.fail(`at the end block ${block} holds what it must not hold`));
	peer.socket.destroy();
	t.is(await runtime.stop('SIGTERM'), 0);
	t.true(existsSync(join(stateDirectory, 'cbe.img')));
	const check = await runRuntime(['run', 'cbe_check', '--state', stateDirectory]);
	t.is(check.code, 0, check.output);
});

/** In a long run all snapshots together would hold the whole pool. */
async function discardOldSnapshots(stateDirectory: string): Promise<void> {
	const reply = await control(stateDirectory, 'list_snapshots');
	const {snapshots} = z.object({snapshots: z.array(z.object({generation: z.number()}))}).parse(reply);
	for (const {generation} of snapshots.slice(0, -3)) {
		await control(stateDirectory, 'discard_snapshot', {generation});
	}
}

/** Reads everything back; afterwards what was found counts as flushed. */
async function verify(peer: NbdPeer, written: WrittenBlocks, report: (block: number) => void): Promise<void> {
	const atOnce = 256;
	for (let first = 0; first < blockCount; first += atOnce) {
		const data = await peer.read(first * blockSize, atOnce * blockSize);
		for (let i = 0; i < atOnce; i++) {
			const content = data.subarray(i * blockSize, (i + 1) * blockSize);
			const value = content.readUInt32LE(0);
			if (!content.equals(contentOf(first + i, value)) || !written.isAllowed(first + i, value)) {
				report(first + i);
			}

			written.settle(first + i, value);
		}
	}
}
