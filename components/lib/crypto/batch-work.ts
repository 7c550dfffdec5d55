/**
 * The work on a batch: what is sealed is encrypted, then labelled; what is opened is compared with its label, then
 * decrypted. An authenticated cipher does both at once. A crypto server does it on its own thread, or spreads it.
 *
 * Guarantee: of a block that does not match its label nothing is given out.
 */
import {setImmediate as eventLoopTurn} from 'node:timers/promises';
import {labelLength} from '../../sessions/cipher.js';
import {isAuthenticatedKey, type BlockRun, type CipherKey, type CipherSuite, type PreparedKey} from './cipher-suite.js';
import {blockSize} from '../../sessions/vocabulary.js';

/**
 * Blocks worked on in one go: 128 KiB, so that what was just encrypted is still in the processor's cache when labelled.
 */
export const runBlockCountMax = 32;

/**
 * Blocks between two turns of the event loop: 1 MiB, some 4 ms with hardware AES, so that heartbeats go on in large
 * batches.
 */
const turnBlockCount = 256;

/**
 * Blocks for the places `addresses`: one behind another in `sealed`, and in `plain`, whose segments are whole blocks.
 */
export interface Batch {
	readonly addresses: ArrayLike<number>;
	readonly vbas: ArrayLike<number>;
	readonly generations: ArrayLike<number>;
	readonly plain: readonly Uint8Array[];
	readonly sealed: Uint8Array;
}

/** Whoever does the work on batches of one server. What can be done at once is, without a promise. */
export interface BatchWork {
	/** Fills `labels`, 32 bytes a block, in which there are the nonces for an authenticated key. */
	seal(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<void> | undefined;
	/** Indexes of the blocks that do not match their labels, ascending; their part of `plain` is zeroed. */
	open(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<number[]> | number[];
}

/**
 * Cuts a batch, or its blocks from `from` up to `to`, into runs: a run lies in one segment and has at most
 * `runBlockCountMax` blocks.
 */
export function* runsOf(
	{addresses, vbas, generations, plain, sealed}: Batch,
	from = 0,
	to = addresses.length,
): Generator<BlockRun> {
	let first = 0;
	for (const segment of plain) {
		const end = first + segment.length / blockSize;
		const last = Math.min(end, to);
		for (let at = Math.max(first, from); at < last; at += runBlockCountMax) {
			const count = Math.min(runBlockCountMax, last - at);
			yield {
				addresses,
				vbas,
				generations,
				first: at,
				count,
				plain: segment,
				plainOffset: (at - first) * blockSize,
				sealed,
				sealedOffset: at * blockSize,
			};
		}

		first = end;
	}
}

function labelsDiffer(one: Uint8Array, oneOffset: number, other: Uint8Array, otherOffset: number): boolean {
	// Labels are no secrets, so the comparison may stop early.
	for (let i = 0; i < labelLength; i++) {
		if (one[oneOffset + i] !== other[otherOffset + i]) {
			return true;
		}
	}

	return false;
}

/** A part of a run that starts at its block `start`. */
function partOf(run: BlockRun, start: number, count: number): BlockRun {
	return {
		...run,
		first: run.first + start,
		count,
		plainOffset: run.plainOffset + start * blockSize,
		sealedOffset: run.sealedOffset + start * blockSize,
	};
}

/** Decrypts what is good of a run and zeroes the rest; `bad` are indexes in the run, ascending. */
function decryptAround(key: CipherKey, run: BlockRun, bad: readonly number[]): void {
	let start = 0;
	for (const index of [...bad, run.count]) {
		if (index > start) {
			key.decrypt(partOf(run, start, index - start));
		}

		start = index + 1;
	}

	for (const index of bad) {
		const offset = run.plainOffset + index * blockSize;
		run.plain.fill(0, offset, offset + blockSize);
	}
}

/** The work on single runs, all on the thread that calls. */
export class RunWork {
	readonly #suite: CipherSuite;
	/** Labels of one run, kept so that the suite always writes to the same memory. */
	readonly #foundLabels = new Uint8Array(runBlockCountMax * labelLength);

	constructor(suite: CipherSuite) {
		this.#suite = suite;
	}

	/** Sets the labels of the run among those of its batch. */
	seal(key: PreparedKey, run: BlockRun, labels: Uint8Array): void {
		if (isAuthenticatedKey(key)) {
			key.seal(run, labels);
			return;
		}

		key.encrypt(run);
		this.#suite.label(run.sealed, run.sealedOffset, run.count, this.#foundLabels, 0);
		labels.set(this.#foundLabels.subarray(0, run.count * labelLength), run.first * labelLength);
	}

	/** Adds to `mismatched` what does not match, by its index in the batch. */
	open(key: PreparedKey, run: BlockRun, labels: Uint8Array, mismatched: number[]): void {
		if (isAuthenticatedKey(key)) {
			mismatched.push(...key.open(run, labels).map(index => run.first + index));
			return;
		}

		this.#suite.label(run.sealed, run.sealedOffset, run.count, this.#foundLabels, 0);
		const bad: number[] = [];
		for (let i = 0; i < run.count; i++) {
			if (labelsDiffer(this.#foundLabels, i * labelLength, labels, (run.first + i) * labelLength)) {
				bad.push(i);
				mismatched.push(run.first + i);
			}
		}

		if (bad.length === 0) {
			key.decrypt(run);
		} else {
			decryptAround(key, run, bad);
		}
	}
}

/** All work on the thread of the component. */
export class OwnThreadWork implements BatchWork {
	readonly #work: RunWork;

	constructor(suite: CipherSuite) {
		this.#work = new RunWork(suite);
	}

	seal(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<void> | undefined {
		return this.#eachRun(batch, run => {
			this.#work.seal(key, run, labels);
		});
	}

	open(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<number[]> | number[] {
		const mismatched: number[] = [];
		const rest = this.#eachRun(batch, run => {
			this.#work.open(key, run, labels, mismatched);
		});
		return rest ? rest.then(() => mismatched) : mismatched;
	}

	/** Does all of a batch at once that is not too large for that. */
	#eachRun(batch: Batch, job: (run: BlockRun) => void): Promise<void> | undefined {
		if (batch.addresses.length > turnBlockCount) {
			return eachRunInTurns(batch, job);
		}

		for (const run of runsOf(batch)) {
			job(run);
		}

		return undefined;
	}
}

async function eachRunInTurns(batch: Batch, job: (run: BlockRun) => void): Promise<void> {
	let sinceTurn = 0;
	for (const run of runsOf(batch)) {
		if (sinceTurn + run.count > turnBlockCount) {
			await eventLoopTurn();
			sinceTurn = 0;
		}

		job(run);
		sinceTurn += run.count;
	}
}
