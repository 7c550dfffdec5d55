/**
 * A long operation that goes on beside the device's requests, step by step: rekeying and extension. It gives way to
 * requests, can be paused, and where it is interrupted the next opening resumes it from the secured superblock.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {isHostFull} from './space-reservation.js';

/** What an operation does, piece by piece. */
export interface Work {
	/** Steps in a unit of its own, for progress. */
	readonly total: number;
	readonly done: number;
	/** Bytes behind one unit. */
	readonly unitBytes: number;
	/** The state is secured at least this often. */
	readonly secureIntervalMs: number;
	/** Does one step; false when none is left. `no_space` asks for a checkpoint first. */
	step(): Promise<boolean>;
	/** What has to be said of it at its end, if anything. */
	readonly outcome?: string | undefined;
	/** Ends the operation durably, after the last step. */
	finish(): Promise<void>;
}

export interface OperationStatus {
	readonly phase: 'idle' | 'in-progress' | 'paused';
	readonly lastResult: 'none' | 'success' | 'failed';
	/** What it waits for, in words; missing where it goes on. */
	readonly waitsFor?: string;
	readonly done: number;
	readonly total: number;
	/** Bytes per second since the operation was started or resumed. */
	readonly bytesPerSecond: number;
	/** Undefined while nothing can be said. */
	readonly secondsLeft?: number;
}

export interface OperationParts {
	readonly name: string;
	readonly env: Environment;
	/** Grows with every request of a client. */
	activity(): number;
	secure(): Promise<void>;
	/** The medium had no room: makes some of what nobody needs, if there is any. */
	makeRoom(): Promise<void>;
	/** True where the next opening goes on with what was left of it. */
	readonly isResumed: boolean;
	/** Bytes per second that the operation may move, undefined for as many as it can. */
	readonly rateLimit: number | undefined;
}

/** While clients are active, pause after a step this many times as long as the step took … */
const yieldFactor = 4;
/** … but no longer than this. */
const yieldMaxMs = 200;
/** Steps that find no room, each followed by a checkpoint, before spare blocks are waited for. */
const attemptMax = 10;
/** Wait for `resume`, and five times as long for spare blocks or room. */
const waitMs = 200;

const idle: OperationStatus = {phase: 'idle', lastResult: 'none', done: 0, total: 0, bytesPerSecond: 0};

function roomReason({message}: SessionError): string {
	return `room on the host: ${message}; make room there, or clear what is not needed (TRIM)`;
}

function isNoSpace(error: unknown): error is SessionError {
	return error instanceof SessionError && error.code === 'no_space';
}

export class BackgroundOperation {
	readonly #parts: OperationParts;
	#work: Work | undefined;
	#running: Promise<void> | undefined;
	#lastResult: OperationStatus['lastResult'] = 'none';
	#stopping = false;
	#paused = false;
	/** Waits for spare blocks, or for room on the medium; said once in the log. */
	#waitsFor: string | undefined;
	#startedAt = 0;
	#doneAtStart = 0;
	#securedAt = 0;

	constructor(parts: OperationParts) {
		this.#parts = parts;
	}

	get isRunning(): boolean {
		return this.#work !== undefined;
	}

	get status(): OperationStatus {
		if (!this.#work) {
			return {...idle, lastResult: this.#lastResult};
		}

		const {done, total, unitBytes} = this.#work;
		const elapsedMs = this.#parts.env.now() - this.#startedAt;
		const unitsPerMs = elapsedMs > 0 ? (done - this.#doneAtStart) / elapsedMs : 0;
		return {
			phase: this.#paused ? 'paused' : 'in-progress',
			lastResult: this.#lastResult,
			...(this.#waitsFor !== undefined && {waitsFor: this.#waitsFor}),
			done,
			total,
			bytesPerSecond: Math.round(unitsPerMs * unitBytes * 1000),
			...(unitsPerMs > 0 && {secondsLeft: Math.ceil((total - done) / unitsPerMs / 1000)}),
		};
	}

	/** Runs the work in the background, from where it stands. */
	start(work: Work): void {
		const {env, name, isResumed} = this.#parts;
		this.#work = work;
		this.#stopping = false;
		this.#lastResult = 'none';
		this.#paused = false;
		this.#waitsFor = undefined;
		this.#securedAt = env.now();
		this.#measureFrom(work);
		this.#running = this.#run(work)
			.then(
				finished => {
					this.#lastResult = finished ? 'success' : 'none';
				},
				(error: unknown) => {
					this.#lastResult = 'failed';
					env.log(
						`${name} stopped: ${error instanceof Error ? error.message : String(error)}${isResumed ? '; it is resumed when the device is opened again' : ''}`,
						'error',
					);
				},
			)
			.then(() => {
				this.#work = undefined;
			});
	}

	pause(): void {
		this.#paused = true;
	}

	resume(): void {
		if (this.#work && this.#paused) {
			this.#measureFrom(this.#work);
		}

		this.#paused = false;
	}

	/** The rate is that of the time since now. */
	#measureFrom({done}: Work): void {
		this.#startedAt = this.#parts.env.now();
		this.#doneAtStart = done;
	}

	/** Ends after the running step; what is left is done after the next start. */
	async stop(): Promise<void> {
		this.#stopping = true;
		await this.#running;
	}

	/** False where it was stopped before its end. */
	async #run(work: Work): Promise<boolean> {
		const {env, name, secure} = this.#parts;
		let more = true;
		while (more) {
			if (this.#stopping) {
				return false;
			}

			if (this.#paused) {
				await env.sleep(waitMs);
				continue;
			}

			more = await this.#stepWithRoom(work);
			if (env.now() - this.#securedAt >= work.secureIntervalMs && (await this.#whenThereIsRoom(secure))) {
				this.#securedAt = env.now();
			}
		}

		if (!(await this.#whenThereIsRoom(secure)) || !(await this.#whenThereIsRoom(async () => work.finish()))) {
			return false;
		}

		if (work.outcome === undefined) {
			env.log(`${name} finished`);
		} else {
			env.log(`${name} finished; ${work.outcome}`, 'warning');
		}

		return true;
	}

	/** Does what a full medium refuses as soon as it has room again; false where the operation was stopped before. */
	async #whenThereIsRoom(job: () => Promise<void>): Promise<boolean> {
		for (let waited = false; ; waited = true) {
			try {
				await job();
				this.#waitsFor = waited ? undefined : this.#waitsFor;
				return true;
			} catch (error) {
				if (!isNoSpace(error)) {
					throw error;
				}

				await this.#wait(roomReason(error));
			}

			if (this.#stopping) {
				return false;
			}
		}
	}

	async #wait(reason: string): Promise<void> {
		const {env, name} = this.#parts;
		const isNew = this.#waitsFor === undefined;
		this.#waitsFor = reason;
		if (isNew) {
			env.log(`${name} waits for ${reason}`, 'warning');
		}

		await env.sleep(5 * waitMs);
	}

	/** One step, and then a pause for the clients and the rate limit. */
	async #stepWithRoom(work: Work): Promise<boolean> {
		const {env, activity} = this.#parts;
		const activityBefore = activity();
		const startedAt = env.now();
		const doneBefore = work.done;
		const more = await this.#stepOrWait(work);
		await this.#giveWay({
			elapsedMs: env.now() - startedAt,
			movedBytes: (work.done - doneBefore) * work.unitBytes,
			active: activity() !== activityBefore,
		});
		return more;
	}

	/** A checkpoint frees what was replaced before it, and a work that failed asks for less the next time. */
	async #stepOrWait(work: Work): Promise<boolean> {
		const {secure, makeRoom} = this.#parts;
		let reason = '';
		// On a full host the first checkpoint brings what there is; after that somebody else has to make room.
		for (let attempt = 0, isFull = false; attempt < (isFull ? 2 : attemptMax); attempt++) {
			try {
				const more = await work.step();
				this.#waitsFor = undefined;
				return more;
			} catch (error) {
				if (!isNoSpace(error)) {
					throw error;
				}

				isFull = isHostFull(error);
				reason = isFull
					? roomReason(error)
					: `spare blocks: ${error.message}; discard a snapshot, or add some with "runtime extend ft SIZE"`;
				if (!(await this.#whenThereIsRoom(secure))) {
					return true;
				}

				if (isFull) {
					await makeRoom();
				}
			}
		}

		await this.#wait(reason);
		return true;
	}

	async #giveWay({
		elapsedMs,
		movedBytes,
		active,
	}: {
		elapsedMs: number;
		movedBytes: number;
		active: boolean;
	}): Promise<void> {
		const {env, rateLimit} = this.#parts;
		const forClients = active ? Math.min(yieldMaxMs, elapsedMs * yieldFactor) : 0;
		const forRate = rateLimit === undefined ? 0 : (movedBytes / rateLimit) * 1000 - elapsedMs;
		await env.sleep(Math.max(0, forClients, forRate));
	}
}
