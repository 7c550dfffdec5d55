/** One worker thread with a host in it, from its creation to the reason of its end. */
import {Worker, type ResourceLimits} from 'node:worker_threads';
import {handedOver, type FromHost, type ThreadData, type ToHost} from '../host/messages.js';
import type {SharedSecrets} from '../process-secrets.js';
import {isSocket, type SessionHandle} from '../transport/session-port.js';
import {Heartbeat} from './heartbeat.js';
import {quantumRemedy} from './ram-share.js';
import type {GroupHost, HostEnd, HostOptions} from './group-host.js';

/** How long a thread may take to end itself. */
const endMsMax = 500;

const hostModule = new URL('../host/main.js', import.meta.url);

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
	readonly #worker: Worker;
	#end: Pick<HostEnd, 'child' | 'reason'> | undefined;
	readonly #heartbeat: Heartbeat;
	#force: NodeJS.Timeout | undefined;

	constructor({name, data, limits, secrets, heartbeatMs, onMessage, onEnd}: ThreadOptions) {
		const [first] = data.children;
		this.#heartbeat = new Heartbeat(this, text => {
			onMessage({type: 'log', child: first.name, level: 'warning', text});
		});
		this.#worker = new Worker(hostModule, {name, workerData: {...data, secrets} satisfies ThreadData, resourceLimits: limits});
		this.#worker.on('message', (message: FromHost) => {
			if (message.type === 'beat') {
				this.#heartbeat.hear();
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
			this.#heartbeat.stop();
			clearTimeout(this.#force);
			onEnd({...this.#end ?? {child: undefined, reason: `exited with code ${exitCode}`}, exitCode, isFault: this.#end !== undefined});
		});
	}

	post(message: ToHost, ends: readonly SessionHandle[] = []): void {
		this.#worker.postMessage(message, [...ends.flatMap(end => isSocket(end) ? [] : [end]), ...handedOver(message)]);
	}

	/**
	 * Not by force at once, since what native code has in the event loop of a thread that is torn down would end the whole
	 * process.
	 */
	kill(reason: string, child?: string): void {
		this.#end ??= {child, reason};
		this.post({type: 'end'});
		this.#force ??= setTimeout(() => {
			void this.#worker.terminate();
		}, endMsMax);
	}

	beatEvery(heartbeatMs: number | undefined): void {
		this.#heartbeat.every(heartbeatMs);
	}
}
