/** One worker thread with a host in it, from its creation to the reason of its end. */
import {Worker, type ResourceLimits, type TransferListItem} from 'node:worker_threads';
import type {FromHost, HostData, ToHost} from '../host/messages.js';

/** Beats that may stay unanswered. One late answer is a busy thread, three are a stuck one. */
const missedBeatCountMax = 3;

/** How long a thread may take to end itself. */
const endMsMax = 500;

const hostModule = new URL('../host/main.js', import.meta.url);

export interface ThreadEnd {
	/** The child at fault, where it is known. */
	readonly child: string | undefined;
	readonly reason: string;
	readonly exitCode: number;
	/** False where the component ended its thread itself. */
	readonly isFault: boolean;
}

export interface ThreadOptions {
	readonly name: string;
	readonly data: HostData;
	readonly limits: ResourceLimits;
	readonly heartbeatMs: number | undefined;
	onMessage(message: FromHost): void;
	/** Called once, when the thread is no more. */
	onEnd(end: ThreadEnd): void;
}

function describeFault(error: unknown, limits: ResourceLimits): string {
	if (error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY') {
		return `exceeded its RAM quantum: the heap's share of it is ${(limits.maxOldGenerationSizeMb ?? 0) + (limits.maxYoungGenerationSizeMb ?? 0)} MiB`;
	}

	return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export class WorkerThread {
	/** The Linux thread id, once the thread runs. */
	tid: number | undefined;
	readonly #worker: Worker;
	#end: Pick<ThreadEnd, 'child' | 'reason'> | undefined;
	#beats: NodeJS.Timeout | undefined;
	#force: NodeJS.Timeout | undefined;
	#missedBeatCount = 0;

	constructor({name, data, limits, heartbeatMs, onMessage, onEnd}: ThreadOptions) {
		this.#worker = new Worker(hostModule, {name, workerData: data, resourceLimits: limits});
		this.#worker.on('message', (message: FromHost) => {
			if (message.type === 'beat') {
				this.#missedBeatCount = 0;
				return;
			}

			if (message.type === 'died') {
				this.#end ??= message;
			} else if (message.type === 'ready') {
				this.tid = message.tid;
				this.beatEvery(heartbeatMs);
			}

			onMessage(message);
		});
		this.#worker.on('error', (error: unknown) => {
			this.#end ??= {child: undefined, reason: describeFault(error, limits)};
		});
		this.#worker.on('exit', exitCode => {
			clearInterval(this.#beats);
			clearTimeout(this.#force);
			onEnd({...this.#end ?? {child: undefined, reason: `exited with code ${exitCode}`}, exitCode, isFault: this.#end !== undefined});
		});
	}

	post(message: ToHost, ports: readonly TransferListItem[] = []): void {
		this.#worker.postMessage(message, ports);
	}

	/**
	 * Ends the thread; `onEnd` follows. One that does not hear it is ended by force: not all at once, since what native code
	 * has in the event loop of a thread that is torn down would end the whole process.
	 */
	kill(reason: string, child?: string): void {
		this.#end ??= {child, reason};
		this.post({type: 'end'});
		this.#force ??= setTimeout(() => {
			void this.#worker.terminate();
		}, endMsMax);
	}

	/** Asks for a sign of life this often; never where there is no number. */
	beatEvery(heartbeatMs: number | undefined): void {
		clearInterval(this.#beats);
		this.#missedBeatCount = 0;
		if (heartbeatMs === undefined) {
			return;
		}

		this.#beats = setInterval(() => {
			if (this.#missedBeatCount >= missedBeatCountMax) {
				this.kill(`missed its heartbeat ${missedBeatCountMax} times, ${heartbeatMs} ms apart`);
				return;
			}

			this.#missedBeatCount++;
			this.post({type: 'beat'});
		}, heartbeatMs);
	}
}
