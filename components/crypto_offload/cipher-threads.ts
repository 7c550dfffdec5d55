/** The pool's threads: started and placed together, replaced when one dies. */
import {Piscina} from 'piscina';
import type {CipherPiece, PieceResult, ThreadPlace} from './cipher-task.js';

const threadModule = new URL('cipher-thread.js', import.meta.url).href;

/** Attempts at one task: where a thread died of something else, another one can do it. */
const attemptMax = 3;

export class CipherThreads {
	readonly count: number;
	readonly #pool: Piscina<readonly CipherPiece[], PieceResult[]>;
	readonly #warn: (text: string) => void;
	#busyCount = 0;
	#taskCount = 0;
	#deathCount = 0;

	constructor(count: number, {cpus, warn}: ThreadPlace & {readonly warn: (text: string) => void}) {
		this.count = count;
		this.#warn = warn;
		// Without atomics an idle thread waits in its event loop instead of a futex: it can be ended at any time, and a
		// task was measured to come back sooner (43 against 72 µs).
		this.#pool = new Piscina({minThreads: count, maxThreads: count, atomics: 'disabled', workerData: {cpus} satisfies ThreadPlace});
		this.#pool.on('error', (error: Error) => {
			this.#warn(`an idle pool thread died: ${error.message}`);
		});
	}

	/** Threads that wait for work. */
	get idleCount(): number {
		return Math.max(0, this.count - this.#busyCount);
	}

	get taskCount(): number {
		return this.#taskCount;
	}

	/** Tasks that a thread did not finish. */
	get deathCount(): number {
		return this.#deathCount;
	}

	/** Waits until every thread is ready; resolves to the CPUs of each. @throws Error where one cannot be placed or started */
	async prepare(): Promise<number[][]> {
		// The pool gives each task to a thread that has none, and so every thread gets one.
		const placed = await Promise.allSettled(Array.from({length: this.count}, async () =>
			this.#pool.run([], {filename: threadModule, name: 'prepare'}) as unknown as Promise<number[]>));
		return placed.map(outcome => {
			if (outcome.status === 'rejected') {
				throw outcome.reason;
			}

			return outcome.value;
		});
	}

	/**
	 * Has one thread work on pieces. Their payload must be shared, and nothing may use their contexts until the result is
	 * there. A task can be done twice, since what it reads it does not write.
	 */
	async run(pieces: readonly CipherPiece[]): Promise<PieceResult[]> {
		this.#busyCount++;
		this.#taskCount++;
		try {
			for (let attempt = 1; ; attempt++) {
				try {
					return await this.#pool.run(pieces, {filename: threadModule});
				} catch (error) {
					this.#deathCount++;
					const reason = error instanceof Error ? error.message : String(error);
					if (attempt === attemptMax) {
						throw new Error(`a task failed on ${attemptMax} pool threads: ${reason}`, {cause: error});
					}

					this.#warn(`a pool thread did not finish its task (${reason}); another one does it`);
				}
			}
		} finally {
			this.#busyCount--;
		}
	}

	/** Ends one thread at once, as a fault would; the pool replaces it. */
	async endOne(): Promise<void> {
		await this.#pool.threads.at(0)?.terminate();
	}

	/** Ends the pool. Every task must have ended. */
	async stop(): Promise<void> {
		await this.#pool.destroy();
	}
}
