/**
 * Jobs that run beside their caller, at most so many at once. The first failure is thrown at the caller's next step.
 */
export class BoundedJobs {
	readonly #limit: number;
	readonly #running = new Set<Promise<void>>();
	#failure: {readonly error: unknown} | undefined;

	constructor(limit: number) {
		this.#limit = limit;
	}

	/** Begins a job as soon as fewer than the limit are running. */
	async start(job: () => Promise<void>): Promise<void> {
		while (this.#running.size >= this.#limit) {
			await Promise.race(this.#running);
		}

		this.#throwFailure();
		const running: Promise<void> = job()
			.catch((error: unknown) => {
				this.#failure ??= {error};
			})
			.finally(() => this.#running.delete(running));
		this.#running.add(running);
	}

	/** Waits for all of them, also where one failed: none touches anything afterwards. */
	async finish(): Promise<void> {
		await Promise.all(this.#running);
		this.#throwFailure();
	}

	#throwFailure(): void {
		if (this.#failure) {
			throw this.#failure.error;
		}
	}
}
