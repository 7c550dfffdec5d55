/** Mutual exclusion between asynchronous jobs: they run one after another, in the order of their calls. */
export class Turn {
	#last: Promise<unknown> = Promise.resolve();

	async take<T>(job: () => Promise<T>): Promise<T> {
		const turn = this.#last.then(job);
		// The next job starts whatever becomes of this one; its caller sees the failure.
		this.#last = turn.catch(() => undefined);
		return turn;
	}

	/** Resolves when every job taken so far has ended. */
	async idle(): Promise<void> {
		await this.#last;
	}
}
