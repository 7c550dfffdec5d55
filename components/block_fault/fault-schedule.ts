/** Decides which requests a fault strikes: by counting alone, so that a run can be repeated. */
export interface FaultScheduleOptions {
	/** Requests that pass before counting starts. */
	readonly after: number;
	/** Every how many requests the fault strikes. */
	readonly failEvery: number;
	/** Faults after which all requests pass. */
	readonly times: number;
}

export class FaultSchedule {
	readonly #options: FaultScheduleOptions;
	#requestCount = 0;
	#faultCount = 0;

	constructor(options: FaultScheduleOptions) {
		this.#options = options;
	}

	get faultCount(): number {
		return this.#faultCount;
	}

	/** Counts one request; true where the fault strikes it. */
	strikes(): boolean {
		const {after, failEvery, times} = this.#options;
		this.#requestCount++;
		if (
			this.#requestCount <= after ||
			(this.#requestCount - after) % failEvery !== 0 ||
			this.#faultCount >= times
		) {
			return false;
		}

		this.#faultCount++;
		return true;
	}
}
