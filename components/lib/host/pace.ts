/**
 * Whether work of the host is so quick that doing it at once costs less than handing it to another thread, as far as it
 * was measured. One slow piece of work is enough to hand over the next ones, and many quick ones in a row are needed to
 * do them at once again.
 */

export interface PaceLimits {
	/** Work done at once that took longer was slow, in milliseconds. */
	readonly atOnceMsMax: number;
	/** Handed over, it also waits for two threads to wake up. */
	readonly handedOverMsMax: number;
}

/** After as many quick ones in a row, work is done at once again. */
const quickCountMin = 16;

export class Pace {
	readonly #limits: PaceLimits;
	#isQuick = true;
	#quickCount = 0;

	constructor(limits: PaceLimits) {
		this.#limits = limits;
	}

	/** False while work should be handed over. */
	get isQuick(): boolean {
		return this.#isQuick;
	}

	/** Work was done at once. */
	tookAtOnce(milliseconds: number): void {
		this.#isQuick = milliseconds <= this.#limits.atOnceMsMax;
	}

	/** Work was handed over and is done. */
	tookHandedOver(milliseconds: number): void {
		this.#quickCount = milliseconds <= this.#limits.handedOverMsMax ? this.#quickCount + 1 : 0;
		if (this.#quickCount === quickCountMin) {
			this.#quickCount = 0;
			this.#isQuick = true;
		}
	}
}
