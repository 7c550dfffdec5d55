/** The pool's threads: started and placed together, replaced when one dies. */
import {Piscina} from 'piscina';
import type {CipherTask, TaskReport, ThreadPlace} from './cipher-task.js';

const threadModule = new URL('cipher-thread.js', import.meta.url).href;

/** What a thread is given that only has to get ready. */
const nothing = {} as CipherTask;

export class CipherThreads {
	readonly count: number;
	readonly #pool: Piscina<CipherTask, TaskReport>;
	readonly #warn: (text: string) => void;
	#unansweredCount = 0;
	#taskCount = 0;
	#deathCount = 0;

	constructor(count: number, {cpus, warn}: ThreadPlace & {readonly warn: (text: string) => void}) {
		this.count = count;
		this.#warn = warn;
		// Without atomics an idle thread waits in its event loop instead of a futex: it can be ended at any time, and a
		// task was measured to come back sooner (43 against 72 µs).
		this.#pool = new Piscina({
			minThreads: count,
			maxThreads: count,
			atomics: 'disabled',
			workerData: {cpus} satisfies ThreadPlace,
		});
		this.#pool.on('error', (error: Error) => {
			this.#warn(`an idle pool thread died: ${error.message}`);
		});
	}

	/** Tasks that no thread has answered yet. */
	get unansweredCount(): number {
		return this.#unansweredCount;
	}

	get taskCount(): number {
		return this.#taskCount;
	}

	/** Tasks that a thread did not finish. */
	get deathCount(): number {
		return this.#deathCount;
	}

	/**
	 * Waits until every thread is ready; resolves to the CPUs of each. @throws Error where one cannot be placed or
	 * started
	 */
	async prepare(): Promise<number[][]> {
		// The pool gives each task to a thread that has none, and so every thread gets one.
		const placed = await Promise.allSettled(
			Array.from(
				{length: this.count},
				async () =>
					this.#pool.run(nothing, {filename: threadModule, name: 'prepare'}) as unknown as Promise<number[]>,
			),
		);
		return placed.map(outcome => {
			if (outcome.status === 'rejected') {
				throw outcome.reason;
			}

			return outcome.value;
		});
	}

	/**
	 * Has one thread help with a batch, whose payload must be shared. @throws Error where the thread died or failed;
	 * what it has taken and not done is somebody else's then
	 */
	async run(task: CipherTask): Promise<TaskReport> {
		this.#unansweredCount++;
		this.#taskCount++;
		try {
			return await this.#pool.run(task, {filename: threadModule});
		} catch (error) {
			this.#deathCount++;
			this.#warn(
				`a pool thread did not finish its task (${error instanceof Error ? error.message : String(error)}); it is done by others`,
			);
			throw error;
		} finally {
			this.#unansweredCount--;
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
