/**
 * Divides the work among the component's own thread and those of a pool. What this thread alone does as soon is done at
 * once; of a larger batch every thread takes some blocks after another, this one from the end and the others from the
 * beginning, until none are left. So nobody waits for a thread that wakes up late, and all end together.
 */
import {OwnThreadWork, RunWork, type Batch, type BatchWork} from '../lib/crypto/batch-work.js';
import type {CipherSuite, PreparedKey} from '../lib/crypto/cipher-suite.js';
import type {Direction} from './cipher-task.js';
import type {CipherThreads} from './cipher-pool.js';
import type {CostModel} from './cost-model.js';
import {SharedKey} from './shared-key.js';
import {JobTablePool} from './job-table-pool.js';
import {ParallelJob} from './parallel-job.js';

/**
 * What this thread does of a large batch before others get their turn, requests that wait and heartbeats: while
 * somebody helps …
 */
const turnUs = 100;
/** … and alone, where each turn only costs. */
const aloneTurnUs = 1000;
/**
 * How long it looks for the end of a batch, in turns of the event loop, before it waits for a message: that takes long
 * to come.
 */
const pollUs = 100;
/** A batch that nobody helps with is divided into turns from here: 1 MiB. */
const aloneBlockCountMax = 256;
/** Smaller batches are not timed. */
const timedBlockCountMin = 8;

function overlap(one: Uint8Array, other: Uint8Array): boolean {
	return (
		one.buffer === other.buffer &&
		one.byteOffset < other.byteOffset + other.length &&
		other.byteOffset < one.byteOffset + one.length
	);
}

/** True where other threads can see the payload, and work that was done by half can be done again. */
function canBeShared({plain, sealed}: Batch): boolean {
	return (
		!(sealed.buffer instanceof ArrayBuffer) &&
		plain.every(segment => !(segment.buffer instanceof ArrayBuffer) && !overlap(segment, sealed))
	);
}

export interface ParallelOptions {
	readonly threads: CipherThreads;
	readonly model: CostModel;
	/** Microseconds, by the clock that the pool's threads have. */
	readonly clock: () => number;
}

export class ParallelWork implements BatchWork {
	readonly #threads: CipherThreads;
	readonly #model: CostModel;
	readonly #clock: () => number;
	readonly #runs: RunWork;
	/** For batches that nobody else helps with. */
	readonly #alone: OwnThreadWork;
	readonly #tables = new JobTablePool();
	/** Of which not all is done, the oldest one first. */
	readonly #jobs: ParallelJob[] = [];
	readonly #tasks = new Set<Promise<void>>();
	#isTurnDue = false;
	#ownBlockCount = 0;
	#sharedBlockCount = 0;

	constructor(suite: CipherSuite, {threads, model, clock}: ParallelOptions) {
		this.#threads = threads;
		this.#model = model;
		this.#clock = clock;
		this.#runs = new RunWork(suite);
		this.#alone = new OwnThreadWork(suite);
	}

	/** Blocks done on the component's own thread, and by the pool. */
	get counts(): {readonly own: number; readonly shared: number} {
		return {own: this.#ownBlockCount, shared: this.#sharedBlockCount};
	}

	seal(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<void> | undefined {
		const sharing = this.#share('seal', key, batch, labels);
		return sharing
			? sharing.then(() => undefined)
			: this.#timed('seal', key, batch, () => this.#alone.seal(key, batch, labels));
	}

	open(key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<number[]> | number[] {
		return (
			this.#share('open', key, batch, labels) ??
			this.#timed('open', key, batch, () => this.#alone.open(key, batch, labels))
		);
	}

	/** Waits for everything that was begun, and until no thread looks at any of it. */
	async settle(): Promise<void> {
		await Promise.allSettled(this.#jobs.map(async job => job.finished));
		await Promise.all(this.#tasks);
	}

	/** Does a batch on this thread, and learns what it costs. */
	#timed<T>(direction: Direction, key: PreparedKey, batch: Batch, work: () => T): T {
		const blockCount = batch.addresses.length;
		this.#ownBlockCount += blockCount;
		if (blockCount < timedBlockCountMin || blockCount > aloneBlockCountMax || !(key instanceof SharedKey)) {
			return work();
		}

		const startUs = this.#clock();
		const result = work();
		this.#model.noteAlone(key.kindOf(direction), blockCount, this.#clock() - startUs);
		return result;
	}

	/** Begins with a batch that others help with; undefined for one that this thread does alone. */
	#share(direction: Direction, key: PreparedKey, batch: Batch, labels: Uint8Array): Promise<number[]> | undefined {
		if (!(key instanceof SharedKey)) {
			return undefined;
		}

		const blockCount = batch.addresses.length;
		const helperCount = this.#model.helpersFor(key.kindOf(direction), blockCount, this.#freeThreadCount);
		if ((helperCount === 0 && blockCount <= aloneBlockCountMax) || !canBeShared(batch)) {
			return undefined;
		}

		const job = new ParallelJob({direction, key, batch, labels}, this.#tables);
		this.#jobs.push(job);
		this.#callHelpers(job, helperCount);
		this.#work();
		return job.finished;
	}

	/**
	 * Threads that help with nothing. One whose batch is over is free, though its answer may not have come yet: it gets
	 * its next task when it has. So that tasks do not pile up before a thread that gets no CPU, none waits behind
	 * another one.
	 */
	get #freeThreadCount(): number {
		const {count, unansweredCount} = this.#threads;
		let helperCount = 0;
		for (const job of this.#jobs) {
			helperCount += job.helperCount;
		}

		return Math.min(count - helperCount, 2 * count - unansweredCount);
	}

	#callHelpers(job: ParallelJob, count: number): void {
		for (let i = 0; i < count; i++) {
			const task = this.#help(job);
			this.#tasks.add(task);
			void task.then(() => this.#tasks.delete(task));
		}
	}

	/** Has a thread help, which does not fail: what it leaves behind is done by others. */
	async #help(job: ParallelJob): Promise<void> {
		const wasIdle = this.#threads.unansweredCount < this.#threads.count;
		const beganUs = this.#clock();
		const task = job.join();
		const answer = this.#threads.run(task);
		const postedUs = this.#clock();
		job.ownUs += postedUs - beganUs;
		let isDone = true;
		try {
			const {startUs, endUs, blockCount} = await answer;
			this.#sharedBlockCount += blockCount;
			if (blockCount > 0) {
				job.lastEndUs = Math.max(job.lastEndUs, endUs);
			}

			if (wasIdle) {
				this.#model.noteHandOff({postUs: postedUs - beganUs, reactionUs: startUs - postedUs});
			}
		} catch {
			isDone = false;
		}

		if (job.leave(task.taker, isDone)) {
			job.ownEndUs = undefined;
		}

		if (job.isOver && job.helperCount === 0 && isDone) {
			this.#model.noteHelped(job.kind, {
				blockCount: job.blockCount,
				helperCount: job.threadCount - 1,
				us: job.ownUs + job.waitUs,
			});
		}

		this.#callOne();
		this.#work();
	}

	/** A thread that has become idle helps with the oldest batch of which enough is left. */
	#callOne(): void {
		for (const job of this.#jobs) {
			if (
				this.#freeThreadCount > 0 &&
				job.ownEndUs === undefined &&
				this.#model.helpersFor(job.kind, job.freeBlockCount / job.threadCount, 1) > 0
			) {
				this.#callHelpers(job, 1);
				return;
			}
		}
	}

	/** One turn: blocks of the oldest batch that has some left, then whatever has come to its end. */
	#work(): void {
		const startUs = this.#clock();
		let nowUs = startUs;
		for (const job of this.#jobs) {
			while (job.ownEndUs === undefined && nowUs - startUs < (job.threadCount === 1 ? aloneTurnUs : turnUs)) {
				const blockCount = job.work(this.#runs);
				const endUs = this.#clock();
				if (blockCount === 0) {
					job.ownEndUs = endUs;
				} else {
					this.#ownBlockCount += blockCount;
					job.ownUs += endUs - nowUs;
					this.#model.noteBlocks(job.kind, blockCount, endUs - nowUs);
				}

				nowUs = endUs;
			}
		}

		this.#endJobs();
		if (this.#jobs.some(({ownEndUs}) => ownEndUs === undefined || nowUs - ownEndUs < pollUs)) {
			this.#turnSoon();
		}
	}

	#endJobs(): void {
		for (let i = this.#jobs.length - 1; i >= 0; i--) {
			const job = this.#jobs[i];
			if (job.endIfDone()) {
				this.#jobs.splice(i, 1);
				if (job.threadCount === 1) {
					this.#model.noteAlone(job.kind, job.blockCount, job.ownUs);
				}
			}
		}
	}

	#turnSoon(): void {
		if (!this.#isTurnDue) {
			this.#isTurnDue = true;
			setImmediate(() => {
				this.#isTurnDue = false;
				this.#work();
			});
		}
	}
}
