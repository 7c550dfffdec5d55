/** Counts and times of one operation. */
export class OperationStatistics {
	count = 0;
	failedCount = 0;
	#totalMs = 0;
	#maxMs = 0;

	add(elapsedMs: number, failed: boolean): void {
		this.count++;
		this.failedCount += failed ? 1 : 0;
		this.#totalMs += elapsedMs;
		this.#maxMs = Math.max(this.#maxMs, elapsedMs);
	}

	/** Values for a status line, named `OPERATION_count` and so on; nothing where nothing happened. */
	status(operation: string): Record<string, number> {
		if (this.count === 0) {
			return {};
		}

		return {
			[`${operation}_count`]: this.count,
			[`${operation}_failed_count`]: this.failedCount,
			[`${operation}_mean_ms`]: rounded(this.#totalMs / this.count),
			[`${operation}_max_ms`]: rounded(this.#maxMs),
		};
	}
}

/** Microseconds are as fine as the clock is worth. */
function rounded(milliseconds: number): number {
	return Math.round(milliseconds * 1000) / 1000;
}
