/**
 * The time during which records are not in the TPM yet. It begins with the first such record and ends when the TPM has
 * been written; who puts an older copy of the files back within it is not noticed.
 */
import type {Environment} from '../../runtime/sdk/component.js';

export interface WindowLimits {
	/** 0: the TPM is written with each record. */
	readonly seconds: number;
	/** The window ends with this many records, too. */
	readonly records: number;
}

export class FreshnessWindow {
	readonly #env: Pick<Environment, 'sleep'>;
	readonly #limits: WindowLimits;
	readonly #onElapsed: () => Promise<void>;
	#recordCount = 0;
	/** Distinguishes the windows, as the sleep of one that has ended goes on. */
	#number = 0;
	#isOpen = false;
	/** The next record ends the window: it stands on one from a run that ended without writing the TPM. */
	#endsWithNext = false;
	#isOverdue = false;

	/** @param onElapsed ends the window; it must not fail */
	constructor(limits: WindowLimits, env: Pick<Environment, 'sleep'>, onElapsed: () => Promise<void>) {
		this.#limits = limits;
		this.#env = env;
		this.#onElapsed = onElapsed;
	}

	get isOpen(): boolean {
		return this.#isOpen;
	}

	/** The TPM should have been written, and could not be. */
	get isOverdue(): boolean {
		return this.#isOverdue;
	}

	/** Records that the TPM does not cover. */
	get recordCount(): number {
		return this.#recordCount;
	}

	/** The newest record in the file is not in the TPM, since the last run ended without an orderly stop. */
	inherit(): void {
		this.#endsWithNext = true;
		this.#open();
	}

	/** A record has been written. True where the TPM has to be written before anybody is told so. */
	note(): boolean {
		this.#open();
		this.#recordCount++;
		return this.#endsWithNext || this.#limits.seconds === 0 || this.#recordCount >= this.#limits.records;
	}

	/** The TPM covers everything, or nobody is interested any more. */
	end(): void {
		this.#isOpen = false;
		this.#endsWithNext = false;
		this.#isOverdue = false;
		this.#recordCount = 0;
		this.#number++;
	}

	/** The TPM could not be written: it is tried again before the next record, and after as long as a window. */
	overrun(): void {
		this.#isOverdue = true;
		this.#isOpen = true;
		this.#number++;
		void this.#elapse(this.#number);
	}

	#open(): void {
		if (!this.#isOpen) {
			this.#isOpen = true;
			void this.#elapse(this.#number);
		}
	}

	async #elapse(number: number): Promise<void> {
		if (this.#limits.seconds > 0) {
			await this.#env.sleep(this.#limits.seconds * 1000);
			if (this.#isOpen && this.#number === number) {
				await this.#onElapsed();
			}
		}
	}
}
