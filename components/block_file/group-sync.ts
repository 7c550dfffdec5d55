/**
 * Durability on request: requests that arrive while a sync runs share the next one. A sync promises nothing about
 * writes that end after it has started, so nobody may join the one that runs.
 */
export class GroupSync {
	/** The run that has not started yet. */
	#waiting: Promise<void> | undefined;
	/** The run asked for last. */
	#last: Promise<void> = Promise.resolve();
	readonly #sync: () => Promise<void>;

	constructor(sync: () => Promise<void>) {
		this.#sync = sync;
	}

	/** Resolves once a sync that started after this call has ended. */
	async request(): Promise<void> {
		if (!this.#waiting) {
			this.#waiting = this.#runAfter(this.#last);
			this.#last = this.#waiting;
		}

		return this.#waiting;
	}

	/** Resolves when no sync runs or waits. */
	async idle(): Promise<void> {
		await Promise.allSettled([this.#last]);
	}

	async #runAfter(previous: Promise<void>): Promise<void> {
		await Promise.allSettled([previous]);
		this.#waiting = undefined;
		await this.#sync();
	}
}
