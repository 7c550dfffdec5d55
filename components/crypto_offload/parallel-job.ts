/** A batch that several threads work on. It is over when all of its blocks are done, whoever has done them. */
import type {Batch, RunWork} from '../lib/crypto/batch-work.js';
import type {PreparedKey} from '../lib/crypto/cipher-suite.js';
import type {CipherTask, Direction} from './cipher-task.js';
import type {LentKey, SharedKey} from './shared-key.js';
import type {JobTablePool, PooledTable} from './job-table-pool.js';
import {unitBlockCount, type JobTable} from './job-table.js';

/** By which this thread takes blocks; other ones have higher numbers. */
const ownTaker = 1;

export interface JobOptions {
	readonly direction: Direction;
	readonly key: SharedKey & PreparedKey;
	readonly batch: Batch;
	readonly labels: Uint8Array;
}

export class ParallelJob {
	/** Cipher and direction. */
	readonly kind: string;
	/** Resolves to the indexes of what does not match, ascending. */
	readonly finished: Promise<number[]>;
	/** Nobody works on it any more. */
	isOver = false;
	/** When this thread found nothing left to take. */
	ownEndUs: number | undefined;
	/** What it took of this thread's time: work and handing over. */
	ownUs = 0;
	/** When the last of the others ended that has done something. */
	lastEndUs = 0;
	/** Threads that were asked to help and have not left. */
	helperCount = 0;
	readonly #options: JobOptions;
	readonly #tables: JobTablePool;
	readonly #stored: PooledTable;
	readonly #table: JobTable;
	readonly #lent: LentKey[] = [];
	#lastTaker = ownTaker;
	#failure: Error | undefined;
	#resolve!: (mismatched: number[]) => void;
	#reject!: (error: Error) => void;

	constructor(options: JobOptions, tables: JobTablePool) {
		const {direction, key, batch, labels} = options;
		this.kind = key.kindOf(direction);
		this.#options = options;
		this.#tables = tables;
		this.#stored = tables.take(batch.addresses.length);
		this.#table = this.#stored.viewFor(batch.addresses.length);
		this.#table.fill(batch, labels);
		this.finished = new Promise((resolve, reject) => {
			this.#resolve = resolve;
			this.#reject = reject;
		});
	}

	get blockCount(): number {
		return this.#options.batch.addresses.length;
	}

	/** How long this thread had nothing left to do here before the others ended. */
	get waitUs(): number {
		return Math.max(0, this.lastEndUs - (this.ownEndUs ?? this.lastEndUs));
	}

	/** Blocks that nobody works on yet, about. */
	get freeBlockCount(): number {
		return this.#table.claims.freeCount * unitBlockCount;
	}

	/** This thread, and those that have been asked to help. */
	get threadCount(): number {
		return this.#lastTaker;
	}

	/** The task for one more thread, which takes part until its `leave`. */
	join(): CipherTask {
		const {direction, key, batch} = this.#options;
		const lent = key.lend();
		this.#lent.push(lent);
		this.#stored.userCount++;
		this.helperCount++;
		return {
			direction,
			key: lent.contexts,
			plain: batch.plain,
			sealed: batch.sealed,
			table: this.#stored.memory,
			capacity: this.#stored.capacity,
			blockCount: batch.addresses.length,
			taker: ++this.#lastTaker,
			threadCount: this.#lastTaker,
		};
	}

	/**
	 * The thread does nothing for this job any more: it has answered, or it is gone. True where it leaves work behind.
	 */
	leave(taker: number, isDone: boolean): boolean {
		const left = isDone || this.isOver ? 0 : this.#table.claims.release(taker);
		this.helperCount--;
		this.#tables.giveBack(this.#stored);
		return left > 0;
	}

	/** Does the next blocks on this thread; how many. None are left where it is none. */
	work(here: RunWork): number {
		const claim = this.#table.claims.takeLast(ownTaker, this.#table.unitsAtOnce(this.#lastTaker));
		if (!claim) {
			return 0;
		}

		if (!this.#failure) {
			try {
				this.#table.work(here, this.#options, claim);
			} catch (error) {
				// The rest is taken and not done, so that no other thread begins with it.
				this.#failure = error as Error;
			}
		}

		this.#table.claims.finish(claim);
		return this.#table.blockCountOf(claim);
	}

	/** Ends the job where all is done; until then its key and its payload are in use. True where it has ended. */
	endIfDone(): boolean {
		if (!this.#table.claims.areAllDone) {
			return false;
		}

		const {key, labels, direction} = this.#options;
		this.isOver = true;
		if (direction === 'seal') {
			labels.set(this.#table.labels);
		}

		const {mismatched} = this.#table;
		// A thread that has not begun yet finds nothing to take, and so never uses its contexts.
		for (const lent of this.#lent) {
			key.giveBack(lent);
		}

		this.#tables.giveBack(this.#stored);
		if (this.#failure) {
			this.#reject(this.#failure);
		} else {
			this.#resolve(mismatched);
		}

		return true;
	}
}
