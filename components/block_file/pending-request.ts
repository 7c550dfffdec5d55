/** A request of which parts are under way: it ends with the last of them, since until then they use its memory. */
export class PendingRequest {
	readonly ended: Promise<void>;
	#partCount = 0;
	#fault: unknown;
	#resolve!: () => void;
	#reject!: (reason: unknown) => void;

	constructor() {
		this.ended = new Promise((resolve, reject) => {
			this.#resolve = resolve;
			this.#reject = reject;
		});
	}

	/** True once a part has failed: nobody needs the others any more. */
	get hasFailed(): boolean {
		return this.#fault !== undefined;
	}

	begin(): void {
		this.#partCount++;
	}

	/** One part has ended, the request with it if it was the last one. @param fault why the part failed */
	end(fault?: unknown): void {
		this.#fault ??= fault;
		this.#partCount--;
		if (this.#partCount > 0) {
			return;
		}

		if (this.#fault === undefined) {
			this.#resolve();
		} else {
			this.#reject(this.#fault);
		}
	}
}
