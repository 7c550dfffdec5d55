/**
 * What makes changes durable: numbers them as they are acknowledged, has the commit machine (`commit-machine.ts`)
 * secure them, and answers who waits for it.
 *
 * A crash at any point leaves the last state that the trust anchor knows, with every block of it untouched.
 */
import type {Superblock} from '../lib/format/superblock.js';
import {lockWatch} from '../lib/sync/lock-order.js';
import type {Generation} from '../sessions/vocabulary.js';
import {CommitActions, type CommitServers} from './commit-actions.js';
import {CommitDriver} from './commit-driver.js';
import {openedState} from './commit-machine.js';
import type {Opened, Notice, MadeEdit, Level} from './commit-state.js';
import {KeyUse} from './key-use.js';
import {edited, type SuperblockEdit} from './transition.js';

export interface CommitEvents {
	/** Why a commit stopped half-way; the component has to start over then. */
	onInterruption?(reason: string): void;
	/** A checkpoint was made. */
	onCheckpoint?(): void;
	/** Something that is no failure, for the log. */
	onWarning?(text: string): void;
	/** The medium has no room for the trees, `attempt` times already; true where there may be some now. */
	onNoRoom?(attempt: number): Promise<boolean>;
}

/** Waits until a change is durable. */
interface Waiter {
	readonly level: Level;
	readonly change: number;
	/** What a superblock has made of its edit: then it has happened, whatever fails after it. */
	made: MadeEdit | undefined;
	resolve(): void;
	reject(reason: unknown): void;
}

export class Commit {
	readonly keyUse: KeyUse;
	readonly #events: CommitEvents;
	readonly #actions: CommitActions;
	readonly #driver: CommitDriver;
	/** Changes that were acknowledged. */
	#changeCount = 0;
	#waiters: Waiter[] = [];

	/** @param flushKey of the trust anchor for the next flush */
	constructor(
		servers: CommitServers,
		{flushKey, ...opened}: Omit<Opened, 'hasFlushKey'> & {readonly flushKey?: Uint8Array | undefined},
		events: CommitEvents = {},
	) {
		this.#events = events;
		this.keyUse = new KeyUse(opened.superblock);
		this.#actions = new CommitActions(servers, {
			changeCount: () => this.#changeCount,
			sealedCounts: () => this.keyUse.counts,
			onNoRoom: async attempt => (await events.onNoRoom?.(attempt)) ?? false,
		});
		this.#actions.useFlushKey(flushKey);
		this.#driver = new CommitDriver(openedState({...opened, hasFlushKey: flushKey !== undefined}), {
			perform: action => this.#actions.perform(action),
			notify: notice => {
				this.#notify(notice);
			},
		});
	}

	/** The last secured superblock. */
	get superblock(): Superblock {
		return this.#driver.core.superblock;
	}

	/** The superblock of the state taken last: the secured one, or the one on its way to being it. */
	get latest(): Superblock {
		return this.#driver.core.latest;
	}

	/** The superblock with all changes that wait for the next checkpoint, but those of the trees. */
	get upcoming(): Superblock {
		return this.#driver.core.edits.reduce((superblock, {edit}) => edited(superblock, edit), this.latest);
	}

	get currentGeneration(): Generation {
		return this.#driver.core.generation;
	}

	/** What the trust anchor keeps. */
	get anchoredHash(): Uint8Array {
		return this.#driver.core.anchoredHash;
	}

	/** Blocks of the log, from the first one on, that hold what was flushed. */
	get usedLogBlockCount(): number {
		return this.#driver.core.log?.tail.usedBlockCount ?? 0;
	}

	/** How many checkpoints were made since the device was opened. */
	get checkpointCount(): number {
		return this.#driver.core.counts.checkpoint;
	}

	/** How often changes have been made durable by the log alone. */
	get flushCount(): number {
		return this.#driver.core.counts.flush;
	}

	/** Grows whenever something has become durable. */
	get durableCount(): number {
		return this.checkpointCount + this.flushCount;
	}

	/** True where something is not durable yet. */
	get isDue(): boolean {
		return this.#changeCount > this.#driver.core.durable.flush;
	}

	/** True where the last secured superblock is not the current state, even if all is durable. */
	get isBehind(): boolean {
		return this.#changeCount > this.#driver.core.durable.checkpoint;
	}

	/** True where the last secured superblock covers this change. */
	isCheckpointed(change: number): boolean {
		return change <= this.#driver.core.durable.checkpoint;
	}

	/** The trust anchor's key for the next flush, or none from now on: then every flush is a checkpoint. */
	useFlushKey(flushKey: Uint8Array | undefined): void {
		this.#actions.useFlushKey(flushKey);
		this.#driver.take({kind: 'flush_key', hasKey: flushKey !== undefined});
	}

	/** The state was changed and somebody was told so; replies with the change's number. */
	noteChange(): number {
		return ++this.#changeCount;
	}

	/**
	 * Resolves when every change noted before the call is durable: in the flush log, where it can say it, or in a
	 * superblock.
	 */
	async flush(): Promise<void> {
		if (this.isDue) {
			await this.#want('flush');
		}
	}

	/** Resolves when a superblock covers every change noted before the call. */
	async checkpoint(): Promise<void> {
		if (this.isBehind) {
			await this.#want('checkpoint');
		}
	}

	/** Makes a checkpoint whether or not anything was changed. */
	async checkpointAnew(): Promise<void> {
		this.noteChange();
		await this.checkpoint();
	}

	/**
	 * Makes a checkpoint with a change of the superblock; it is durable once this resolves, or has not happened.
	 * Replies with what it was.
	 */
	async checkpointWith(edit: SuperblockEdit): Promise<MadeEdit> {
		this.#push(edit, false);
		const {made} = await this.#want('checkpoint');
		if (!made) {
			throw new Error(`no superblock has made the edit ${edit.kind}`);
		}

		return made;
	}

	/**
	 * Changes trees and superblock together: no checkpoint takes its state between `job` and the change it replies
	 * with.
	 */
	async changeTogether(job: () => Promise<SuperblockEdit>): Promise<void> {
		await this.#actions.mutex.run(async () => {
			this.#push(await job(), true);
		});
	}

	/** Runs `job` while no checkpoint takes its state. */
	async holdStill<T>(job: () => Promise<T>): Promise<T> {
		return this.#actions.mutex.run(job);
	}

	#push(edit: SuperblockEdit, isOfTrees: boolean): void {
		this.#driver.take({kind: 'edited', edit: {change: this.noteChange(), edit, isOfTrees}});
	}

	#want(level: Level): Promise<Waiter> {
		return new Promise((resolve, reject) => {
			lockWatch?.asked('commit');
			const waiter: Waiter = {
				level,
				change: this.#changeCount,
				made: undefined,
				resolve: () => {
					resolve(waiter);
				},
				reject,
			};
			this.#waiters.push(waiter);
			this.#driver.take({kind: 'wanted', level, change: waiter.change});
		});
	}

	#notify(notice: Notice): void {
		switch (notice.kind) {
			case 'unlock': {
				this.#actions.unlock();
				break;
			}

			case 'taken': {
				this.keyUse.follow(notice.superblock);
				break;
			}

			case 'checkpointed': {
				this.keyUse.noteSecured(notice.superblock);
				for (const waiter of this.#waiters) {
					waiter.made = notice.edits.find(({change}) => change === waiter.change);
				}

				break;
			}

			case 'advanced': {
				this.#events.onCheckpoint?.();
				break;
			}

			case 'settle': {
				this.#settle();
				break;
			}

			case 'refuse': {
				this.#refuse(notice.levels, notice.upTo, notice.error);
				break;
			}

			case 'interrupted': {
				try {
					this.#events.onInterruption?.(notice.error.message);
				} catch (error) {
					// The component ends by it, and so does whatever waits.
					this.#refuse(notice.levels, Infinity, error);
				}

				break;
			}

			case 'log_broken': {
				this.#events.onWarning?.(
					`the flush log cannot be written (${notice.reason}): until the device is opened again every flush secures a superblock`,
				);
				break;
			}
		}
	}

	#settle(): void {
		const {durable} = this.#driver.core;
		const waiters = this.#waiters;
		this.#waiters = [];
		for (const waiter of waiters) {
			if (waiter.change <= durable[waiter.level]) {
				waiter.resolve();
			} else {
				this.#waiters.push(waiter);
			}
		}
	}

	#refuse(levels: readonly Level[], upTo: number, error: unknown): void {
		const waiters = this.#waiters;
		this.#waiters = [];
		for (const waiter of waiters) {
			if (waiter.change > upTo || !levels.includes(waiter.level)) {
				this.#waiters.push(waiter);
			} else if (waiter.made) {
				waiter.resolve();
			} else {
				waiter.reject(error);
			}
		}
	}
}
