/**
 * Asks a host for signs of life, and ends one that gives none. Two kinds of silence are no fault of its own. One that
 * waits in the kernel for a disk that stands still is not ended: no new one would be served any sooner, and its
 * requests are as good as on their way. And time in which it could have run and others had the CPU does not count: a
 * new one would have to queue as well.
 */
import type {GroupHost} from './group-host.js';
import {isWaitingForDevice, threadTimes, unservedMs, type ThreadTimes} from './thread-state.js';

/** Beats that may stay unanswered. One late answer is a busy thread, three are a stuck one. */
const missedBeatCountMax = 3;

/** How many times longer one may be silent while other threads of its process get no CPU. */
const indirectPatience = 10;

/** What the heartbeat knows of threads; tests replace it. */
export interface ThreadObserver {
	/** Milliseconds that only ever grow. */
	now(): number;
	isWaitingForDevice(tid: number | undefined): boolean;
	/** Of each thread of its process, by thread id. */
	threadTimes(tid: number | undefined): ReadonlyMap<number, ThreadTimes>;
}

const kernel: ThreadObserver = {now: () => performance.now(), isWaitingForDevice, threadTimes};

export class Heartbeat {
	readonly #host: Pick<GroupHost, 'post' | 'kill' | 'tid'>;
	readonly #onWait: (text: string) => void;
	readonly #threads: ThreadObserver;
	#beats: NodeJS.Timeout | undefined;
	#missedCount = 0;
	/** When the first beat was sent that is not answered, and the times of its process's threads then. */
	#silentSince = 0;
	#timesBefore: ReadonlyMap<number, ThreadTimes> = new Map();
	#over: string | undefined;

	/**
	 * @param onWait is told when the host is spared although it gives no sign of life, with the reason, and when that
	 * is over
	 */
	constructor(
		host: Pick<GroupHost, 'post' | 'kill' | 'tid'>,
		onWait: (text: string) => void,
		threads: ThreadObserver = kernel,
	) {
		this.#host = host;
		this.#onWait = onWait;
		this.#threads = threads;
	}

	/** A sign of life has come. */
	beat(): void {
		this.#missedCount = 0;
		if (this.#over !== undefined) {
			this.#onWait(this.#over);
			this.#over = undefined;
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
				this.#judge(heartbeatMs);
				return;
			}

			if (this.#missedCount === 0) {
				this.#silentSince = this.#threads.now();
				this.#timesBefore = this.#threads.threadTimes(this.#host.tid);
			}

			this.#missedCount++;
			this.#host.post({type: 'beat'});
		}, heartbeatMs);
	}

	stop(): void {
		clearInterval(this.#beats);
	}

	/** Ends the host, unless there is a reason for which it could give no sign of life. */
	#judge(heartbeatMs: number): void {
		const patienceMs = missedBeatCountMax * heartbeatMs;
		if (this.#threads.isWaitingForDevice(this.#host.tid)) {
			this.#spare(
				`has been waiting for its storage for ${patienceMs} ms; requests wait with it`,
				'the storage answers again',
			);
			return;
		}

		const silentMs = this.#threads.now() - this.#silentSince;
		const times = this.#threads.threadTimes(this.#host.tid);
		const tid = this.#host.tid ?? 0;
		const own = unservedMs(this.#timesBefore.get(tid), times.get(tid), silentMs);
		// It may wait for another thread of its process that gets no CPU, such as the engine's: that excuses it for a
		// while.
		const others = [...times].map(
			([other, {queuedMs}]) => queuedMs - (this.#timesBefore.get(other)?.queuedMs ?? queuedMs),
		);
		const queued = Math.max(own, silentMs < patienceMs * indirectPatience ? Math.max(0, ...others) : 0);
		// By a quarter of a beat less: the kernel's clock and this one are not read at the same moment.
		if (silentMs - queued < patienceMs - heartbeatMs / 4) {
			this.#spare(
				`got no CPU for ${Math.round(queued)} of ${Math.round(silentMs)} ms: this machine is overloaded; requests wait with it`,
				'it gets the CPU again',
			);
			return;
		}

		this.#host.kill(`missed its heartbeat ${missedBeatCountMax} times, ${heartbeatMs} ms apart`);
	}

	#spare(why: string, over: string): void {
		if (this.#over === undefined) {
			this.#onWait(why);
		}

		this.#over = over;
	}
}
