/** Histories of ascending seeds, until the time is up or one fails. */
import {Counts} from './counts.js';
import {runHistory} from './history.js';
import type {PlanOptions} from './plan.js';
import {Trace} from './trace.js';

export interface CampaignSetup {
	readonly seed: number;
	readonly seconds: number;
	/** Goes on beyond `seconds` until there were so many crash points. */
	readonly crashPointCountMin?: number;
	/** Goes on beyond `seconds` until there were so many histories. */
	readonly historyCountMin?: number;
	readonly historyCountMax?: number;
	/** Of every history. */
	readonly planOptions?: PlanOptions;
	readonly keepGoing?: boolean;
	/** Reports of each history what all that happened in it comes to. */
	readonly traces?: boolean;
	readonly report: (text: string) => void;
}

/** Between two lines that tell how far a long run has come. */
const progressSeconds = 30;

export class Campaign {
	readonly counts = new Counts();
	readonly #setup: CampaignSetup;

	constructor(setup: CampaignSetup) {
		this.#setup = setup;
	}

	/** Returns how many histories failed. */
	async run(): Promise<number> {
		const {
			seed,
			seconds,
			crashPointCountMin = 0,
			historyCountMin = 0,
			historyCountMax = Infinity,
			keepGoing = false,
			report,
		} = this.#setup;
		const begin = performance.now();
		const elapsed = (): number => (performance.now() - begin) / 1000;
		let nextProgress = progressSeconds;
		let failureCount = 0;
		for (
			let i = 0;
			i < historyCountMax &&
			(elapsed() < seconds || this.counts.crashPoints < crashPointCountMin || i < historyCountMin);
			i++
		) {
			failureCount += await this.#runOne(seed + i);
			if (failureCount > 0 && !keepGoing) {
				break;
			}

			if (elapsed() > nextProgress) {
				nextProgress += progressSeconds;
				report(`${elapsed().toFixed(0)} s: ${this.counts.toString()}`);
			}
		}

		report(
			`simulator, seeds from ${seed}: ${this.counts.toString()}; ${failureCount} failures in ${elapsed().toFixed(1)} s`,
		);
		return failureCount;
	}

	async #runOne(seed: number): Promise<0 | 1> {
		const {planOptions, traces = false, report} = this.#setup;
		const trace = traces ? new Trace() : undefined;
		try {
			await runHistory(seed, {...planOptions, counts: this.counts, ...(trace && {trace})});
			return 0;
		} catch (error) {
			report(`seed ${seed}: ${error instanceof Error ? error.message : String(error)}`);
			return 1;
		} finally {
			if (trace) {
				report(`seed ${seed}: ${trace.toString()}`);
			}
		}
	}
}
