/**
 * Whether to ask for holes before a read. An answer costs as much as a small read, so small reads do without, and so do
 * most large ones as long as answers say that there is nothing but data.
 */
import {smallByteLengthMax} from './client-limits.js';

/** Reads that go by without a question, at most. */
const skippedCountMax = 64;

export class HoleSearch {
	/** Reads to pass over after the next question without a hole. */
	#pause = 1;
	#left = 0;

	isWorthwhile(byteLength: number): boolean {
		if (byteLength < smallByteLengthMax) {
			return false;
		}

		if (this.#left > 0) {
			this.#left--;
			return false;
		}

		return true;
	}

	/** What an answer said. */
	note(hasHoles: boolean): void {
		this.#left = hasHoles ? 0 : this.#pause;
		this.#pause = hasHoles ? 1 : Math.min(skippedCountMax, this.#pause * 2);
	}
}
