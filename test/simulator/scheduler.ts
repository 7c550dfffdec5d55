/**
 * The order of everything: each message and each operation of the medium waits for its turn, and the seed decides
 * whose turn it is. Nothing here waits for real time.
 */
import type {Random} from './random.js';
import type {Trace} from './trace.js';

interface Sleeper {
	readonly wakeMs: number;
	readonly resolve: () => void;
}

/** A long computation may pause for this many turns of the event loop without a step. */
const patienceTurnCount = 8;

/** Of all steps, how many let time pass until the next sleeper wakes. */
const passingTimeRate = 0.02;

/** Nothing can happen any more, but somebody still waits. */
export class Stalled extends Error {
	override readonly name = 'Stalled';
}

/** Lets every promise that can settle do so. */
async function settle(): Promise<void> {
	await new Promise(resolve => {
		setImmediate(resolve);
	});
}

export class Scheduler {
	readonly #random: Random;
	readonly #waiting: Array<() => void> = [];
	readonly #sleepers: Sleeper[] = [];
	readonly #stepMs: number;
	readonly #trace: Trace | undefined;
	#haltReason: Error | undefined;
	#nowMs = 0;
	#stepCount = 0;

	/** @param stepMs how long a step takes on the simulated clock */
	constructor(random: Random, stepMs: number, trace?: Trace) {
		this.#random = random;
		this.#stepMs = stepMs;
		this.#trace = trace;
	}

	get nowMs(): number {
		return this.#nowMs;
	}

	get stepCount(): number {
		return this.#stepCount;
	}

	/** Waits until the seed says so. */
	readonly step = async (): Promise<void> =>
		new Promise(resolve => {
			this.#waiting.push(resolve);
		});

	async sleep(milliseconds: number): Promise<void> {
		return new Promise(resolve => {
			this.#sleepers.push({wakeMs: this.#nowMs + milliseconds, resolve});
		});
	}

	/** Nothing goes on from here; whoever runs gets the reason. */
	halt(reason: Error): void {
		this.#haltReason ??= reason;
	}

	/**
	 * Takes one step after the other until `job` has ended. `eachTurn` is called between steps, when everything that
	 * could happen without another step has happened.
	 */
	async run<T>(job: Promise<T>, eachTurn?: () => Promise<void>): Promise<T> {
		let ended = false;
		const noteEnd = (): void => {
			ended = true;
		};
		job.then(noteEnd, noteEnd);
		for (;;) {
			await settle();
			if (this.#haltReason) {
				throw this.#haltReason;
			}

			if (eachTurn) {
				await eachTurn();
			}

			if (ended) {
				return job;
			}

			await this.#takeStep();
		}
	}

	async #takeStep(): Promise<void> {
		this.#stepCount++;
		this.#nowMs += this.#stepMs;
		for (let turn = 0; turn < patienceTurnCount && this.#waiting.length === 0; turn++) {
			await settle();
		}

		// Who slept long enough takes part in the draw; now and then time passes though there is something to do.
		const dueCount = this.#sleepers.filter(({wakeMs}) => wakeMs <= this.#nowMs).length;
		const index = this.#random.below(this.#waiting.length + dueCount);
		this.#trace?.note('step', this.#nowMs, this.#waiting.length, this.#sleepers.length, index);
		if (index < this.#waiting.length && !(this.#sleepers.length > 0 && this.#random.chance(passingTimeRate))) {
			const [resolve] = this.#waiting.splice(index, 1);
			resolve();
			return;
		}

		this.#wakeNext();
	}

	#wakeNext(): void {
		this.#sleepers.sort((a, b) => a.wakeMs - b.wakeMs);
		const sleeper = this.#sleepers.shift();
		if (!sleeper) {
			throw new Stalled('a request hangs: nothing is under way that could answer it');
		}

		this.#nowMs = Math.max(this.#nowMs, sleeper.wakeMs);
		sleeper.resolve();
	}
}
