/** A few things that jobs use one at a time; jobs that find none wait, in the order of their calls. */
export class ResourcePool<T> {
	readonly #free: T[];
	readonly #waiting: Array<(resource: T) => void> = [];

	constructor(resources: readonly T[]) {
		this.#free = [...resources];
	}

	/** True where a job waits. */
	get isAwaited(): boolean {
		return this.#waiting.length > 0;
	}

	/** Gives `job` one of them alone until it ends. */
	async use<R>(job: (resource: T) => Promise<R>): Promise<R> {
		const resource =
			this.#free.pop() ??
			(await new Promise<T>(resolve => {
				this.#waiting.push(resolve);
			}));
		try {
			return await job(resource);
		} finally {
			// Straight to who waits, so that nobody who comes now is faster.
			const next = this.#waiting.shift();
			if (next) {
				next(resource);
			} else {
				this.#free.push(resource);
			}
		}
	}
}
