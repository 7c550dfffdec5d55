/** One worker thread with a host in it, from its creation to the reason of its end. */
import {Worker, type ResourceLimits, type TransferListItem} from 'node:worker_threads';
import {handedOver, type FromHost, type ThreadData, type ToHost} from '../host/messages.js';
import type {SharedSecrets} from '../process/process-secrets.js';
import {withOpenFilesMax} from '../sdk/open-files.js';
import {makeBell, nudge} from '../transport/doorbell.js';
import {isSocket, type SessionHandle} from '../transport/session-port.js';
import {Heartbeat} from './heartbeat.js';
import {loadLimiter} from './load-limiter.js';
import {quantumRemedy} from '../deployment/ram-share.js';
import type {GroupHost, HostEnd, HostOptions} from './group-host.js';

/** How long a thread may take to end itself. */
const endMsMax = 500;

const hostModule = new URL('../host/thread-main.js', import.meta.url);

function describeFault(error: unknown, limits: ResourceLimits): string {
	if (error instanceof Error && 'code' in error && error.code === 'ERR_WORKER_OUT_OF_MEMORY') {
		return `exceeded its RAM quantum: the heap's share of it is ${(limits.maxOldGenerationSizeMb ?? 0) + (limits.maxYoungGenerationSizeMb ?? 0)} MiB; ${quantumRemedy}`;
	}

	return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

export interface ThreadOptions extends HostOptions {
	readonly limits: ResourceLimits;
	/** What its components take, in memory that is shared with it. */
	readonly secrets: SharedSecrets;
}

export class WorkerThread implements GroupHost {
	tid: number | undefined;
	readonly pid = process.pid;
	readonly bell = makeBell();
	/** Undefined until it is its turn. */
	#worker: Worker | undefined;
	/** What was said to it before. */
	readonly #early: Array<{readonly message: ToHost; readonly transfer: readonly TransferListItem[]}> = [];
	readonly #endTurn: () => void;
	readonly #onEnd: ThreadOptions['onEnd'];
	#end: Pick<HostEnd, 'child' | 'reason'> | undefined;
	readonly #heartbeat: Heartbeat;
	#force: NodeJS.Timeout | undefined;
	#isGivenUp = false;

	constructor(options: ThreadOptions) {
		const {data, onMessage, onEnd} = options;
		const [first] = data.children;
		this.#onEnd = onEnd;
		this.#heartbeat = new Heartbeat(this, text => {
			onMessage({type: 'log', child: first.name, level: 'warning', text});
		});
		this.#endTurn = loadLimiter.acquire(() => {
			this.#begin(options);
		});
	}

	#begin({name, data, limits, secrets, heartbeatMs, onMessage}: ThreadOptions): void {
		const worker = new Worker(hostModule, {
			name,
			workerData: {...data, secrets, bell: this.bell} satisfies ThreadData,
			resourceLimits: limits,
		});
		this.#worker = worker;
		worker.on('message', (message: FromHost) => {
			if (message.type === 'beat') {
				this.#heartbeat.beat();
				return;
			}

			if (message.type === 'died') {
				this.#end ??= message;
			} else if (message.type === 'ready') {
				this.#endTurn();
				this.tid = message.tid;
				this.beatEvery(heartbeatMs);
			}

			onMessage(message);
		});
		worker.on('error', (error: unknown) => {
			this.#end ??= {child: undefined, reason: withOpenFilesMax(describeFault(error, limits))};
		});
		worker.on('exit', exitCode => {
			this.#endTurn();
			this.#heartbeat.stop();
			clearTimeout(this.#force);
			this.#onEnd({
				...(this.#end ?? {child: undefined, reason: `exited with code ${exitCode}`}),
				exitCode,
				isFault: this.#end !== undefined,
			});
		});
		for (const {message, transfer} of this.#early.splice(0)) {
			worker.postMessage(message, transfer);
		}
	}

	post(message: ToHost, ends: readonly SessionHandle[] = []): void {
		const transfer = [...ends.flatMap(end => (isSocket(end) ? [] : [end.port])), ...handedOver(message)];
		if (this.#worker) {
			this.#worker.postMessage(message, transfer);
			nudge(this.bell);
		} else {
			this.#early.push({message, transfer});
		}
	}

	/**
	 * Not by force at once, since what native code has in the event loop of a thread that is torn down would end the
	 * whole process.
	 */
	kill(reason: string, child?: string): void {
		this.#end ??= {child, reason};
		const worker = this.#worker;
		if (!worker) {
			this.#giveUp(this.#end);
			return;
		}

		this.post({type: 'end'});
		this.#force ??= setTimeout(() => {
			void worker.terminate();
		}, endMsMax);
	}

	beatEvery(heartbeatMs: number | undefined): void {
		this.#heartbeat.every(heartbeatMs);
	}

	/** It never had its turn. */
	#giveUp(end: Pick<HostEnd, 'child' | 'reason'>): void {
		this.#endTurn();
		this.#heartbeat.stop();
		if (!this.#isGivenUp) {
			this.#isGivenUp = true;
			queueMicrotask(() => {
				this.#onEnd({...end, exitCode: 1, isFault: true});
			});
		}
	}
}
