/** A batch that several threads work on. It is over when all of its blocks are done, whoever has done them. */
import type {Batch, RunWork} from '../lib/crypto/batch-work.js';
import type {PreparedKey} from '../lib/crypto/cipher-suite.js';
import type {CipherTask, Direction} from './cipher-task.js';
import type {LentKey, SharedKey} from './shared-key.js';
import type {SheetStore, StoredSheet} from './sheet-store.js';
import {unitBlockCount, type WorkSheet} from './work-sheet.js';

/** By which this thread takes blocks; other ones have higher numbers. */
const ownTaker = 1;

export interface JobOptions {
	readonly direction: Direction;
	readonly key: SharedKey & PreparedKey;
	readonly batch: Batch;
	readonly labels: Uint8Array;
}

export class SpreadJob {
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
	readonly #sheets: SheetStore;
	readonly #stored: StoredSheet;
	readonly #sheet: WorkSheet;
	readonly #lent: LentKey[] = [];
	#lastTaker = ownTaker;
	#failure: Error | undefined;
	#resolve!: (mismatched: number[]) => void;
	#reject!: (error: Error) => void;

	constructor(options: JobOptions, sheets: SheetStore) {
		const {direction, key, batch, labels} = options;
		this.kind = key.kindOf(direction);
		this.#options = options;
		this.#sheets = sheets;
		this.#stored = sheets.take(batch.addresses.length);
		this.#sheet = this.#stored.viewFor(batch.addresses.length);
		this.#sheet.fill(batch, labels);
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
		return this.#sheet.claims.freeCount * unitBlockCount;
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
			sheet: this.#stored.memory,
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
		const left = isDone || this.isOver ? 0 : this.#sheet.claims.release(taker);
		this.helperCount--;
		this.#sheets.giveBack(this.#stored);
		return left > 0;
	}

	/** Does the next blocks on this thread; how many. None are left where it is none. */
	work(here: RunWork): number {
		const claim = this.#sheet.claims.takeLast(ownTaker, this.#sheet.unitsAtOnce(this.#lastTaker));
		if (!claim) {
			return 0;
		}

		if (!this.#failure) {
			try {
				this.#sheet.work(here, this.#options, claim);
			} catch (error) {
				// The rest is taken and not done, so that no other thread begins with it.
				this.#failure = error as Error;
			}
		}

		this.#sheet.claims.finish(claim);
		return this.#sheet.blockCountOf(claim);
	}

	/** Ends the job where all is done; until then its key and its payload are in use. True where it has ended. */
	endIfDone(): boolean {
		if (!this.#sheet.claims.areAllDone) {
			return false;
		}

		const {key, labels, direction} = this.#options;
		this.isOver = true;
		if (direction === 'seal') {
			labels.set(this.#sheet.labels);
		}

		const {mismatched} = this.#sheet;
		// A thread that has not begun yet finds nothing to take, and so never uses its contexts.
		for (const lent of this.#lent) {
			key.giveBack(lent);
		}

		this.#sheets.giveBack(this.#stored);
		if (this.#failure) {
			this.#reject(this.#failure);
		} else {
			this.#resolve(mismatched);
		}

		return true;
	}
}
