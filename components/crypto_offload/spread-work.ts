/**
 * Divides the work among the component's own thread and those of a pool. What arrives in one turn of the event loop is
 * divided together: few blocks are done here at once, many are spread, and so are many small batches.
 */
import {setImmediate as eventLoopTurn} from 'node:timers/promises';
import {blockSize} from '../container/geometry.js';
import {OwnThreadWork, RunWork, runsOf, type Batch, type BatchWork} from '../sessions/batch-work.js';
import {labelLength} from '../sessions/cipher.js';
import type {CipherSuite, PreparedKey} from '../sessions/cipher-suite.js';
import type {CipherPiece, Direction, PieceResult} from './cipher-task.js';
import type {CipherThreads} from './cipher-threads.js';
import {SharedKey, type LentKey} from './shared-key.js';
import {sharesOf} from './shares.js';

/** A batch on its way. */
interface Job {
	readonly direction: Direction;
	readonly key: SharedKey & PreparedKey;
	readonly batch: Batch;
	readonly labels: Uint8Array;
	readonly mismatched: number[];
	/** The first block that nobody works on yet. */
	next: number;
	/** Parts that are not done. */
	openPartCount: number;
	failure: Error | undefined;
	readonly resolve: () => void;
	readonly reject: (error: Error) => void;
}

/** Blocks of a job that one thread works on. */
interface Part {
	readonly job: Job;
	readonly first: number;
	readonly count: number;
}

/** The blocks of a batch from `first` on. */
function sliceOf({addresses, vbas, generations, plain, sealed}: Batch, first: number, count: number): Pick<CipherPiece, 'addresses' | 'vbas' | 'generations' | 'plain' | 'sealed'> {
	const segments: Uint8Array[] = [];
	let skip = first * blockSize;
	let missing = count * blockSize;
	for (const segment of plain) {
		if (skip >= segment.length) {
			skip -= segment.length;
		} else if (missing > 0) {
			const part = segment.subarray(skip, skip + missing);
			segments.push(part);
			missing -= part.length;
			skip = 0;
		}
	}

	const numbersOf = (values: ArrayLike<number>) => Float64Array.from({length: count}, (_, i) => values[first + i]);
	return {
		addresses: numbersOf(addresses),
		vbas: numbersOf(vbas),
		generations: numbersOf(generations),
		plain: segments,
		sealed: sealed.subarray(first * blockSize, (first + count) * blockSize),
	};
}

function overlap(one: Uint8Array, other: Uint8Array): boolean {
	return one.buffer === other.buffer && one.byteOffset < other.byteOffset + other.length && other.byteOffset < one.byteOffset + one.length;
}

/** True where other threads can see the payload, and work that was done by half can be done again. */
function canBeSpread({plain, sealed}: Batch): boolean {
	return !(sealed.buffer instanceof ArrayBuffer) && plain.every(segment => !(segment.buffer instanceof ArrayBuffer) && !overlap(segment, sealed));
}

export class SpreadWork implements BatchWork {
	readonly #threads: CipherThreads;
	readonly #here: RunWork;
	/** For payload that is not shared: a caller on the same thread with memory of its own. */
	readonly #unshared: OwnThreadWork;
	#waiting: Job[] = [];
	#isDividing = false;
	#openJobCount = 0;
	#onIdle: (() => void) | undefined;
	#ownBlockCount = 0;
	#spreadBlockCount = 0;

	constructor(suite: CipherSuite, threads: CipherThreads) {
		this.#threads = threads;
		this.#here = new RunWork(suite);
		this.#unshared = new OwnThreadWork(suite);
	}

	/** Blocks done on the component's own thread, and by the pool. */
	get counts(): {readonly own: number; readonly spread: number} {
		return {own: this.#ownBlockCount, spread: this.#spreadBlockCount};
	}

	async seal(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<void> {
		if (key instanceof SharedKey && canBeSpread(batch)) {
			await this.#add('seal', key, batch, labels);
		} else {
			this.#ownBlockCount += batch.addresses.length;
			await this.#unshared.seal(key, batch, labels);
		}
	}

	async open(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<number[]> {
		if (key instanceof SharedKey && canBeSpread(batch)) {
			// Parts end in any order.
			return (await this.#add('open', key, batch, labels)).sort((a, b) => a - b);
		}

		this.#ownBlockCount += batch.addresses.length;
		return this.#unshared.open(key, batch, labels);
	}

	/** Waits for everything that was begun. */
	async settle(): Promise<void> {
		if (this.#openJobCount > 0) {
			await new Promise<void>(resolve => {
				this.#onIdle = resolve;
			});
		}
	}

	async #add(direction: Direction, key: SharedKey & PreparedKey, batch: Batch, labels: Uint8Array): Promise<number[]> {
		const mismatched: number[] = [];
		if (batch.addresses.length > 0) {
			this.#openJobCount++;
			await new Promise<void>((resolve, reject) => {
				this.#waiting.push({direction, key, batch, labels, mismatched, next: 0, openPartCount: 0, failure: undefined, resolve, reject});
				this.#divideSoon();
			});
		}

		return mismatched;
	}

	#divideSoon(): void {
		if (!this.#isDividing) {
			this.#isDividing = true;
			setImmediate(() => {
				void this.#divideAll();
			});
		}
	}

	async #divideAll(): Promise<void> {
		for (;;) {
			this.#divide();
			if (this.#waiting.length === 0) {
				break;
			}

			await eventLoopTurn();
		}

		this.#isDividing = false;
	}

	/** One round: the pool gets its shares first, so that it works while this thread does. */
	#divide(): void {
		let waitingBlockCount = 0;
		for (const {batch, next} of this.#waiting) {
			waitingBlockCount += batch.addresses.length - next;
		}

		const {own, helperCount, each} = sharesOf(waitingBlockCount, this.#threads.idleCount);
		for (let helper = 0; helper < helperCount; helper++) {
			void this.#workThere(this.#take(each));
		}

		for (const part of this.#take(own)) {
			this.#workHere(part);
		}
	}

	/** Takes the oldest blocks that wait. */
	#take(blockCount: number): Part[] {
		const parts: Part[] = [];
		let missing = blockCount;
		for (let job = this.#waiting.at(0); job && missing > 0; job = this.#waiting.at(0)) {
			const left = job.batch.addresses.length - job.next;
			const count = Math.min(left, missing);
			parts.push({job, first: job.next, count});
			job.next += count;
			job.openPartCount++;
			missing -= count;
			if (count === left) {
				this.#waiting.shift();
			}
		}

		return parts;
	}

	#workHere({job, first, count}: Part): void {
		this.#ownBlockCount += count;
		try {
			this.#doPart(job, first, count);
		} catch (error) {
			job.failure = error as Error;
		}

		this.#partDone(job);
	}

	#doPart({direction, key, batch, labels, mismatched}: Job, first: number, count: number): void {
		const slice = sliceOf(batch, first, count);
		const partLabels = labels.subarray(first * labelLength, (first + count) * labelLength);
		const found: number[] = [];
		for (const run of runsOf(slice)) {
			if (direction === 'seal') {
				this.#here.seal(key, run, partLabels);
			} else {
				this.#here.open(key, run, partLabels, found);
			}
		}

		mismatched.push(...found.map(index => first + index));
	}

	async #workThere(parts: readonly Part[]): Promise<void> {
		const lent = new Map<SharedKey, LentKey>();
		try {
			const results = await this.#threads.run(parts.map(part => this.#pieceOf(part, lent)));
			for (const [i, part] of parts.entries()) {
				this.#spreadBlockCount += part.count;
				this.#takeOver(part, results[i]);
			}
		} catch (error) {
			for (const {job} of parts) {
				job.failure = error as Error;
			}
		}

		for (const [key, contexts] of lent) {
			key.giveBack(contexts);
		}

		for (const {job} of parts) {
			this.#partDone(job);
		}
	}

	#pieceOf({job, first, count}: Part, lent: Map<SharedKey, LentKey>): CipherPiece {
		const {direction, key, batch, labels} = job;
		const contexts = lent.get(key) ?? key.lend();
		lent.set(key, contexts);
		return {
			direction,
			key: contexts.contexts,
			...sliceOf(batch, first, count),
			labels: labels.slice(first * labelLength, (first + count) * labelLength),
		};
	}

	#takeOver({job, first}: Part, {labels, mismatched}: PieceResult): void {
		if (labels) {
			job.labels.set(labels, first * labelLength);
		}

		job.mismatched.push(...mismatched.map(index => first + index));
	}

	/** A job ends with its last part, also where another one failed: until then its key is in use. */
	#partDone(job: Job): void {
		job.openPartCount--;
		if (job.openPartCount === 0 && job.next === job.batch.addresses.length) {
			if (job.failure) {
				job.reject(job.failure);
			} else {
				job.resolve();
			}

			this.#openJobCount--;
			if (this.#openJobCount === 0) {
				this.#onIdle?.();
			}
		}
	}
}
