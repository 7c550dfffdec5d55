/**
 * Asks a host for signs of life, and ends one that gives none. One that waits in the kernel for a disk that stands still is
 * not ended: no new one would be served any sooner, and its requests are as good as on their way.
 */
import fs from 'node:fs';
import type {GroupHost} from './group-host.js';

/** Beats that may stay unanswered. One late answer is a busy thread, three are a stuck one. */
const missedBeatCountMax = 3;

/** The state of a thread that waits for a device and hears no signal (proc(5)). */
const uninterruptible = 'D';

/** True where the kernel keeps the thread waiting for a device. */
function isWaitingForDevice(tid: number | undefined): boolean {
	if (tid === undefined) {
		return false;
	}

	try {
		// The name before it stands in parentheses and may hold anything.
		const stat = fs.readFileSync(`/proc/${tid}/stat`, 'latin1');
		return stat.slice(stat.lastIndexOf(')') + 2).startsWith(uninterruptible);
	} catch {
		return false;
	}
}

export class Heartbeat {
	readonly #host: Pick<GroupHost, 'post' | 'kill' | 'tid'>;
	readonly #onWait: (text: string) => void;
	readonly #isWaiting: (tid: number | undefined) => boolean;
	#beats: NodeJS.Timeout | undefined;
	#missedCount = 0;
	#hasSaidSo = false;

	/** @param onWait is told when the host waits for a device so long that it would be ended else, and when that is over */
	constructor(host: Pick<GroupHost, 'post' | 'kill' | 'tid'>, onWait: (text: string) => void, isWaiting = isWaitingForDevice) {
		this.#host = host;
		this.#onWait = onWait;
		this.#isWaiting = isWaiting;
	}

	/** A sign of life has come. */
	hear(): void {
		this.#missedCount = 0;
		if (this.#hasSaidSo) {
			this.#hasSaidSo = false;
			this.#onWait('the storage answers again');
		}
	}

	every(heartbeatMs: number | undefined): void {
		this.stop();
		this.#missedCount = 0;
		if (heartbeatMs === undefined) {
			return;
		}

		this.#beats = setInterval(() => {
			if (this.#missedCount >= missedBeatCountMax) {
				if (this.#isWaiting(this.#host.tid)) {
					this.#wait(heartbeatMs);
					return;
				}

				this.#host.kill(`missed its heartbeat ${missedBeatCountMax} times, ${heartbeatMs} ms apart`);
				return;
			}

			this.#missedCount++;
			this.#host.post({type: 'beat'});
		}, heartbeatMs);
	}

	#wait(heartbeatMs: number): void {
		if (!this.#hasSaidSo) {
			this.#hasSaidSo = true;
			this.#onWait(`has been waiting for its storage for ${missedBeatCountMax * heartbeatMs} ms; requests wait with it`);
		}
	}

	stop(): void {
		clearInterval(this.#beats);
	}
}
