/**
 * How steady the machine is: a fixed amount of work on all CPUs at once, timed before, between and after the rounds.
 * Whoever else uses the machine makes it take longer.
 */
import {once} from 'node:events';
import {availableParallelism, loadavg} from 'node:os';
import {Worker} from 'node:worker_threads';
import {spreadOf} from './statistics.js';

/** Times of the same work that lie further apart than this make results doubtful. */
const spreadMax = 0.1;
/** Load of others, as a part of the CPUs. */
const loadMax = 0.5;

const workModule = new URL('fixed-work.js', import.meta.url);

export class Calibration {
	readonly #workers = Array.from({length: availableParallelism()}, () => new Worker(workModule));
	readonly #timesMs: number[] = [];
	/** Before the bench makes load of its own. */
	readonly loadAtStart = loadavg()[0];

	get timesMs(): readonly number[] {
		return this.#timesMs;
	}

	/** Loads the code and lets the compiler finish. */
	async warmUp(): Promise<void> {
		await this.#run();
		await this.#run();
	}

	async measure(): Promise<number> {
		const startedMs = performance.now();
		await this.#run();
		const elapsedMs = performance.now() - startedMs;
		this.#timesMs.push(elapsedMs);
		return elapsedMs;
	}

	/** One line for each reason to doubt the results. */
	get warnings(): string[] {
		const warnings: string[] = [];
		const spread = spreadOf(this.#timesMs);
		if (spread > spreadMax) {
			warnings.push(
				`the machine is noisy: the same work took ${Math.min(...this.#timesMs).toFixed(0)} to ${Math.max(...this.#timesMs).toFixed(0)} ms (spread ${(spread * 100).toFixed(0)} %)`,
			);
		}

		if (this.loadAtStart > loadMax * availableParallelism()) {
			warnings.push(
				`the machine was busy at the start: load ${this.loadAtStart.toFixed(2)} on ${availableParallelism()} CPUs`,
			);
		}

		return warnings;
	}

	async close(): Promise<void> {
		await Promise.all(this.#workers.map(async worker => worker.terminate()));
	}

	async #run(): Promise<void> {
		await Promise.all(
			this.#workers.map(async worker => {
				const done = once(worker, 'message');
				worker.postMessage('go');
				await done;
			}),
		);
	}
}
