/** Looks for a client's next request while none of its requests is under way, without giving the thread up. */
import type {BusyWait} from './busy-wait.js';
import {pollCountMax} from './client-limits.js';

export interface SocketPollerOptions {
	readonly busyWait: BusyWait;
	/** Looks once; false where it makes no sense to look again. */
	poll(): boolean;
	now(): number;
}

export class SocketPoller {
	readonly #options: SocketPollerOptions;
	/** Since when nothing is under way; undefined while something is. */
	#sinceMs: number | undefined;
	#scheduled = false;
	readonly #onTurn = (): void => {
		this.#scheduled = false;
		this.#poll();
	};

	constructor(options: SocketPollerOptions) {
		this.#options = options;
	}

	/**
	 * `requestCount` requests, all that were under way, are answered. The event loop takes a turn before anybody looks,
	 * so that whatever else waits on this thread comes first, each time.
	 */
	begin(requestCount: number): void {
		const {busyWait, now} = this.#options;
		if (requestCount > 1) {
			busyWait.crowded();
		}

		this.#sinceMs = now();
		if (!this.#scheduled && busyWait.msFor(this) > 0) {
			this.#scheduled = true;
			setImmediate(this.#onTurn);
		}
	}

	/** Something has arrived. */
	end(): void {
		if (this.#sinceMs !== undefined) {
			const gapMs = this.#options.now() - this.#sinceMs;
			this.#sinceMs = undefined;
			this.#options.busyWait.arrived(this, gapMs);
		}
	}

	#poll(): void {
		const {busyWait, poll: look, now} = this.#options;
		const untilMs = now() + busyWait.msFor(this);
		for (let i = 0; i < pollCountMax && this.#sinceMs !== undefined && now() < untilMs; i++) {
			// What it finds ends the wait from within.
			if (!look()) {
				return;
			}
		}
	}
}
