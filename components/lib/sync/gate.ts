/** Writers pass together; storing the tree needs it for itself. A waiting exclusive job keeps new writers out. */
export class Gate {
	#inside = 0;
	#exclusive: Promise<void> | undefined;
	#onEmpty: (() => void) | undefined;

	/** Enters at once; false where an exclusive job runs or waits. */
	tryEnter(): boolean {
		if (this.#exclusive) {
			return false;
		}

		this.#inside++;
		return true;
	}

	async enter(): Promise<void> {
		while (this.#exclusive) {
			await this.#exclusive;
		}

		this.#inside++;
	}

	leave(): void {
		this.#inside--;
		if (this.#inside === 0) {
			this.#onEmpty?.();
		}
	}

	/** Runs `job` when all who entered have left, with nobody inside. */
	async exclusively<T>(job: () => Promise<T>): Promise<T> {
		while (this.#exclusive) {
			await this.#exclusive;
		}

		let open = (): void => undefined;
		this.#exclusive = new Promise(resolve => {
			open = resolve;
		});
		try {
			if (this.#inside > 0) {
				await new Promise<void>(resolve => {
					this.#onEmpty = resolve;
				});
				this.#onEmpty = undefined;
			}

			return await job();
		} finally {
			this.#exclusive = undefined;
			open();
		}
	}
}
