/** Many hold it together, or one exclusive job holds it alone. An exclusive job that waits keeps newcomers out. */
export class ReadWriteLock {
	#sharedCount = 0;
	#exclusive: Promise<void> | undefined;
	#onReleased: (() => void) | undefined;

	/** Takes it at once; false where an exclusive job runs or waits. */
	tryLockShared(): boolean {
		if (this.#exclusive) {
			return false;
		}

		this.#sharedCount++;
		return true;
	}

	async lockShared(): Promise<void> {
		while (this.#exclusive) {
			await this.#exclusive;
		}

		this.#sharedCount++;
	}

	unlockShared(): void {
		this.#sharedCount--;
		if (this.#sharedCount === 0) {
			this.#onReleased?.();
		}
	}

	/** Runs `job` when all who share it have released it, with no other holder. */
	async exclusively<T>(job: () => Promise<T>): Promise<T> {
		while (this.#exclusive) {
			await this.#exclusive;
		}

		let open = (): void => undefined;
		this.#exclusive = new Promise(resolve => {
			open = resolve;
		});
		try {
			if (this.#sharedCount > 0) {
				await new Promise<void>(resolve => {
					this.#onReleased = resolve;
				});
				this.#onReleased = undefined;
			}

			return await job();
		} finally {
			this.#exclusive = undefined;
			open();
		}
	}
}
