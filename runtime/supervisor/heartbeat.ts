/** Asks a host for signs of life, and ends one that gives none. */
import type {GroupHost} from './group-host.js';

/** Beats that may stay unanswered. One late answer is a busy thread, three are a stuck one. */
const missedBeatCountMax = 3;

export class Heartbeat {
	readonly #host: Pick<GroupHost, 'post' | 'kill'>;
	#beats: NodeJS.Timeout | undefined;
	#missedCount = 0;

	constructor(host: Pick<GroupHost, 'post' | 'kill'>) {
		this.#host = host;
	}

	/** A sign of life has come. */
	hear(): void {
		this.#missedCount = 0;
	}

	every(heartbeatMs: number | undefined): void {
		this.stop();
		this.#missedCount = 0;
		if (heartbeatMs === undefined) {
			return;
		}

		this.#beats = setInterval(() => {
			if (this.#missedCount >= missedBeatCountMax) {
				this.#host.kill(`missed its heartbeat ${missedBeatCountMax} times, ${heartbeatMs} ms apart`);
				return;
			}

			this.#missedCount++;
			this.#host.post({type: 'beat'});
		}, heartbeatMs);
	}

	stop(): void {
		clearInterval(this.#beats);
	}
}
