/** Mutual exclusion between asynchronous jobs: they run one after another, in the order of their calls. */
export class Mutex {
	#last: Promise<unknown> = Promise.resolve();
	#count = 0;

	run<T>(job: () => Promise<T>): Promise<T> {
		this.#count++;
		const turn = this.#last.then(job);
		const ended = () => {
			this.#count--;
		};

		// The next job starts whatever becomes of this one; its caller sees the failure.
		this.#last = turn.then(ended, ended);
		return turn;
	}

	/** True where no job runs or waits. */
	get isIdle(): boolean {
		return this.#count === 0;
	}

	/** Resolves when every job taken so far has ended. */
	async idle(): Promise<void> {
		await this.#last;
	}
}
