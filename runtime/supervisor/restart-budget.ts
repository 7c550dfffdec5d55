/** How often something may be restarted: a bounded number of times in any window of time. */

export const restartCountMax = 5;
export const restartWindowMs = 60_000;

/** Pause before the nth restart in a window, so that a fault at start does not use up the budget in no time. */
const firstPauseMs = 50;

export class RestartBudget {
	#restartTimes: number[] = [];

	/** Takes one restart at the time `nowMs`; undefined where the budget of the window is used up. */
	take(nowMs: number): {count: number; pauseMs: number} | undefined {
		this.#restartTimes = this.#restartTimes.filter(time => nowMs - time < restartWindowMs);
		if (this.#restartTimes.length >= restartCountMax) {
			return undefined;
		}

		this.#restartTimes.push(nowMs);
		const count = this.#restartTimes.length;
		return {count, pauseMs: count === 1 ? 0 : firstPauseMs * 2 ** (count - 2)};
	}
}
