/**
 * The one commit sequence: blocks, sync and the superblock's announcement in the trust anchor, superblock, sync, trust anchor;
 * then the next generation counts. What a flush log can say need not wait for it: data and log, sync, trust anchor; the
 * generation goes on.
 *
 * A crash at any point leaves the last state that the trust anchor knows, with every block of it untouched.
 */
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import type {Generation} from '../sessions/vocabulary.js';
import {allEnded} from '../container/all-ended.js';
import {FlushLog, type LeafChanges} from '../container/flush-log.js';
import {blockSize} from '../container/geometry.js';
import {labelOf} from '../container/label.js';
import {Turn} from '../container/turn.js';
import {withDirectory} from '../container/snapshot-directory.js';
import {encodeUnusedSlot, nextSlot, type Superblock} from '../container/superblock.js';
import {sealSuperblock} from '../container/superblock-authenticator.js';
import type {block} from '../sessions/block.js';
import type {crypto} from '../sessions/crypto.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {KeyUse} from './key-use.js';
import {clearOldKeys, dropsKey} from './old-keys.js';
import {currentSnapshotOf, hasSlotForChange, horizonOf, securedSuperblock} from './transition.js';

export interface SecuringServers {
	readonly block: Client<typeof block>;
	readonly virtual_block_device: Client<typeof virtualBlockDevice>;
	readonly free_tree: Client<typeof freeTree>;
	readonly trust_anchor: Client<typeof trustAnchor>;
	/** Has the key of the inner blocks; where they are not encrypted nobody asks it. */
	readonly crypto?: Client<typeof crypto>;
}

export interface OpenState {
	readonly superblock: Superblock;
	/** The slot it lies in. */
	readonly slot: number;
	/** What the trust anchor keeps: the superblock's hash, or that of the flush log's newest entry. */
	readonly anchoredHash: Uint8Array;
	readonly currentGeneration: Generation;
	/** The key of the trust anchor for the next flush; without it every flush secures a superblock. */
	readonly flushKey?: Uint8Array | undefined;
	/** A slot that has to be emptied before the trust anchor remembers anything else. */
	readonly strayedSlot?: number | undefined;
	/** False where the log must not be written before a superblock was secured. */
	readonly isLogSettled?: boolean;
}

/** A state on its way to being durable, and how many changes it covers. */
interface TakenState {
	readonly kind: 'superblock';
	readonly covered: number;
	readonly generation: Generation;
	readonly superblock: Superblock;
	readonly edits: readonly PendingEdit[];
}

/** Changes on their way into the log. */
interface TakenChanges {
	readonly kind: 'log';
	readonly covered: number;
	readonly changes: LeafChanges;
}

/** A change of the superblock beside that of its trees, applied to the superblock about to be secured, and to see what it will be. */
export type SuperblockEdit = (superblock: Superblock) => Superblock;

/** An edit that waits for the next superblock, or is part of one. */
interface PendingEdit {
	readonly apply: SuperblockEdit;
	isSecured: boolean;
}

export interface SecuringEvents {
	/** Why a securing stopped half-way; the component has to start over then. */
	onInterruption?(reason: string): void;
	/** A superblock has been secured. */
	onSecured?(): void;
	/** Something that is no failure, for the log. */
	onWarning?(text: string): void;
	/** The medium has no room for the trees, `attempt` times already; true where there may be some now. */
	onNoRoom?(attempt: number): Promise<boolean>;
}

/** A securing that failed half-way: only a reopening tells which state counts. */
export class SecuringInterrupted extends Error {
	override readonly name = 'SecuringInterrupted';
}

export class Securing {
	readonly #servers: SecuringServers;
	readonly #events: SecuringEvents;
	#superblock: Superblock;
	#latest: Superblock;
	#slot: number;
	#currentGeneration: Generation;
	/** Undefined where the container has none. */
	readonly #log: FlushLog | undefined;
	/** A block of the log could not be written: what is in it counts until a superblock does, and nothing more comes in. */
	#isLogBroken = false;
	#anchoredHash: Uint8Array;
	#strayedSlot: number | undefined;
	#isLogSettled: boolean;
	/** Counts changes that were acknowledged; a securing covers all that were before its trees were stored. */
	#changeCount = 0;
	/** Changes that a superblock covers … */
	#securedChangeCount = 0;
	/** … or it or the log. */
	#durableChangeCount = 0;
	/** Held while a state is taken to be secured, and while trees and superblock change together. */
	readonly #taking = new Turn();
	/** Changes of the superblock itself that the next securing makes. */
	#edits: PendingEdit[] = [];
	#running: Promise<void> | undefined;
	/** Changes that the running securing covers; it covers whatever comes before it has taken its state. */
	#takenChangeCount = 0;
	/** The running securing has taken what the log says, so no superblock comes of it. */
	#isLogging = false;
	/** Somebody waits for a superblock: the next state that is taken becomes one. */
	#isSuperblockWanted = false;
	/** The log has not taken changes that it was to name: until a superblock is taken it can say nothing. */
	#isLogIncomplete = false;
	/** After a sync has failed a later one that succeeds says nothing about what was written before: nothing more is secured. */
	#interruption: SecuringInterrupted | undefined;
	#securedCount = 0;
	#loggedCount = 0;
	readonly keyUse: KeyUse;

	constructor(servers: SecuringServers, {superblock, slot, anchoredHash, currentGeneration, flushKey, strayedSlot, isLogSettled = true}: OpenState, events: SecuringEvents = {}) {
		this.#servers = servers;
		this.#events = events;
		this.#superblock = superblock;
		this.#latest = superblock;
		this.#slot = slot;
		this.#anchoredHash = anchoredHash;
		this.#log = superblock.flushLog && new FlushLog(superblock.flushLog, anchoredHash, superblock.features ? 'authenticated' : 'plain');
		this.#log?.useKey(flushKey);
		this.#strayedSlot = strayedSlot;
		this.#isLogSettled = isLogSettled && strayedSlot === undefined;
		this.#currentGeneration = currentGeneration;
		this.keyUse = new KeyUse(superblock);
	}

	/** The last secured superblock. */
	get superblock(): Superblock {
		return this.#superblock;
	}

	/** The superblock of the state taken last: the secured one, or the one on its way to being it. */
	get latest(): Superblock {
		return this.#latest;
	}

	/** The superblock with all changes that wait for the next securing, but those of the trees. */
	get upcoming(): Superblock {
		return this.#edits.reduce((edited, {apply}) => apply(edited), this.#latest);
	}

	get currentGeneration(): Generation {
		return this.#currentGeneration;
	}

	/** What the trust anchor keeps. */
	get anchoredHash(): Uint8Array {
		return this.#anchoredHash;
	}

	/** Blocks of the log, from the first one on, that hold what was flushed. */
	get usedLogBlockCount(): number {
		return this.#log?.usedBlockCount ?? 0;
	}

	/** How often a superblock has been secured since the device was opened. */
	get securedCount(): number {
		return this.#securedCount;
	}

	/** How often changes have been made durable by the log alone. */
	get loggedCount(): number {
		return this.#loggedCount;
	}

	/** Grows whenever something has become durable. */
	get durableCount(): number {
		return this.#securedCount + this.#loggedCount;
	}

	/** True where something is not durable yet. */
	get isDue(): boolean {
		return this.#changeCount > this.#durableChangeCount;
	}

	/** True where the last secured superblock is not the current state, even if all is durable. */
	get isBehind(): boolean {
		return this.#changeCount > this.#securedChangeCount;
	}

	/** The trust anchor's key for the next flush, or none from now on: then every flush secures a superblock. */
	useFlushKey(flushKey: Uint8Array | undefined): void {
		this.#log?.useKey(flushKey);
	}

	/** The state was changed and somebody was told so; replies with the change's number. */
	noteChange(): number {
		return ++this.#changeCount;
	}

	/** True where the last secured superblock covers this change. */
	isSecured(change: number): boolean {
		return change <= this.#securedChangeCount;
	}

	/** Secures the state whether or not it was changed. */
	async renew(): Promise<void> {
		this.noteChange();
		await this.flush();
	}

	/** Secures the state with a change of the superblock; it is durable once this resolves, or has not happened. */
	async edit(edit: SuperblockEdit): Promise<void> {
		const pending = this.#push(edit);
		try {
			await this.flush();
		} catch (error) {
			// It may be secured, and what came after that have failed.
			if (!pending.isSecured) {
				this.#edits = this.#edits.filter(other => other !== pending);
				throw error;
			}
		}
	}

	/** Changes trees and superblock together: no securing takes its state between `job` and the change it replies with. */
	async step(job: () => Promise<SuperblockEdit>): Promise<void> {
		await this.#taking.take(async () => {
			this.#push(await job());
		});
	}

	#push(apply: SuperblockEdit): PendingEdit {
		const pending = {apply, isSecured: false};
		this.#edits.push(pending);
		this.noteChange();
		return pending;
	}

	/** Runs `job` while no securing takes its state. */
	async steady<T>(job: () => Promise<T>): Promise<T> {
		return this.#taking.take(job);
	}

	/** Resolves when a superblock covers every change noted before the call. Concurrent calls share one securing. */
	async flush(): Promise<void> {
		const target = this.#changeCount;
		while (this.#securedChangeCount < target) {
			this.#isSuperblockWanted = true;
			try {
				await this.#join(target, true);
			} catch (error) {
				// What a superblock cannot have, the log may.
				this.#isSuperblockWanted = false;
				throw error;
			}
		}
	}

	/** Resolves when every change noted before the call is durable: in the flush log, where it can say it, or in a superblock. */
	async commit(): Promise<void> {
		const target = this.#changeCount;
		while (this.#durableChangeCount < target) {
			await this.#join(target, false);
		}
	}

	/** Waits for the running securing or begins one. One that took its state too early, or only for the log, has to end first. */
	async #join(target: number, isSuperblockWanted: boolean): Promise<void> {
		if (this.#running && (this.#takenChangeCount < target || (isSuperblockWanted && this.#isLogging))) {
			await this.#running.catch(() => undefined);
		} else {
			await (this.#running ?? this.#start());
		}
	}

	async #start(): Promise<void> {
		if (this.#interruption) {
			throw this.#interruption;
		}

		this.#takenChangeCount = Infinity;
		this.#isLogging = false;
		this.#running = this.#secure();
		try {
			await this.#running;
		} finally {
			this.#running = undefined;
		}
	}

	async #secure(): Promise<void> {
		const changes = await this.#taking.take(async () => await this.#takeChanges() ?? this.#takeState());
		const taken = changes.kind === 'superblock' || await this.#append(changes) ? changes : await this.#takeInstead();
		if (taken.kind === 'superblock') {
			await this.#orInterrupt(taken.generation, async () => this.#anchor(taken.superblock));
			for (const edit of taken.edits) {
				edit.isSecured = true;
			}

			this.#securedChangeCount = taken.covered;
			this.#securedCount++;
		}

		this.#durableChangeCount = taken.covered;
		if (taken.kind === 'superblock') {
			await this.#servers.free_tree.advance(horizonOf(this.#superblock));
			this.#events.onSecured?.();
		}
	}

	/** After a failure of `job` only a reopening tells which state counts. */
	async #orInterrupt<T>(generation: Generation, job: () => Promise<T>): Promise<T> {
		try {
			return await job();
		} catch (error) {
			this.#interruption = new SecuringInterrupted(`securing generation ${generation} failed: ${error instanceof Error ? error.message : String(error)}`);
			this.#events.onInterruption?.(this.#interruption.message);
			throw this.#interruption;
		}
	}

	/** The log could not take the changes: a superblock does. */
	async #takeInstead(): Promise<TakenState> {
		this.#isLogging = false;
		this.#takenChangeCount = Infinity;
		return this.#taking.take(async () => this.#takeState());
	}

	/** What the log can say of the changes; undefined where a superblock has to be secured. */
	async #takeChanges(): Promise<TakenChanges | undefined> {
		const log = this.#log;
		const covered = this.#changeCount;
		if (!log || this.#isLogBroken || log.room === 0 || !this.#isLogSettled || this.#isSuperblockWanted || this.#isLogIncomplete || this.#edits.length > 0 || this.#latest.state !== 'normal') {
			return undefined;
		}

		const {changes} = await this.#servers.virtual_block_device.log({countMax: log.room});
		if (!changes) {
			return undefined;
		}

		// What was noted meanwhile may come after the changes that were taken, or be none that the log says.
		this.#takenChangeCount = covered;
		this.#isLogging = true;
		return {kind: 'log', covered, changes};
	}

	/** Stores the trees and composes the superblock for them. A failure leaves everything to be taken again. */
	async #takeState(): Promise<TakenState> {
		const generation = this.#currentGeneration;
		const covered = this.#changeCount;
		// Those that come from now on are for the next state: this one may lack what was acknowledged before them.
		const waiting = new Set(this.#edits);
		this.#takenChangeCount = covered;
		// With no snapshot slot for another record the kept snapshot stays the current state, under its own root block.
		const isRootKept = currentSnapshotOf(this.#superblock).keep && hasSlotForChange(this.#superblock);
		const trees = await this.#withRoom(async () => this.#servers.virtual_block_device.store({nextGeneration: generation + 1, isRootKept}));
		this.#isSuperblockWanted = false;
		this.#isLogIncomplete = false;
		this.#currentGeneration = generation + 1;
		// One whose securing failed meanwhile has been taken back.
		const edits = this.#edits.filter(edit => waiting.has(edit));
		this.#edits = this.#edits.filter(edit => !waiting.has(edit));
		const superblock = this.keyUse.reserve(edits.reduce((edited, {apply}) => apply(edited), securedSuperblock(this.#superblock, generation, trees)));
		this.#latest = superblock;
		return {kind: 'superblock', generation, covered, superblock, edits};
	}

	/** Does what stores, once more where the medium had no room and has some now. */
	async #withRoom<T>(job: () => Promise<T>): Promise<T> {
		for (let attempt = 0; ; attempt++) {
			try {
				return await job();
			} catch (error) {
				if (!(isSessionError(error) && error.code === 'no_space' && await this.#events.onNoRoom?.(attempt))) {
					throw error;
				}
			}
		}
	}

	/** Makes changes durable by the log; false where it cannot be written, and nothing has happened. */
	async #append({changes}: TakenChanges): Promise<boolean> {
		if (!this.#log || changes.vbas.length === 0) {
			return true;
		}

		const {block, trust_anchor: anchor} = this.#servers;
		const generation = this.#currentGeneration;
		const appended = this.#log.encode(changes, generation);
		try {
			await block.write({extents: [appended.firstPba, appended.data.length / blockSize], data: appended.data});
		} catch (error) {
			// The device's next `log` does not name these changes any more, so only a superblock may follow, whatever happens now.
			this.#isLogIncomplete = true;
			return this.#refuseLog(error);
		}

		const flushKey = await this.#orInterrupt(generation, async () => {
			await block.sync({});
			const reply = await anchor.secure({hash: appended.hash, generation, creating: false});
			return reply.flushKey;
		});
		this.#log.note(appended, flushKey);
		this.#anchoredHash = appended.hash;
		this.#loggedCount++;
		return true;
	}

	/** A log with a bad block is of no use until the device is opened again; a full host may have room the next time. */
	#refuseLog(error: unknown): false {
		if (!isSessionError(error)) {
			throw error;
		}

		if (error.code !== 'no_space') {
			this.#isLogBroken = true;
			this.#events.onWarning?.(`the flush log cannot be written (${error.message}): until the device is opened again every flush secures a superblock`);
		}

		return false;
	}

	/** The superblock of a program that announces none would look like one of a newer anchor from the first announcement on. */
	async #clearStrayed(): Promise<void> {
		if (this.#strayedSlot !== undefined) {
			await this.#servers.block.write({extents: [this.#strayedSlot, 1], data: encodeUnusedSlot()});
			await this.#servers.block.sync({});
			this.#strayedSlot = undefined;
		}
	}

	async #anchor(unnamed: Superblock): Promise<void> {
		const {block, trust_anchor: anchor, crypto: server} = this.#servers;
		const {superblock, write: directory} = await withDirectory(this.#superblock, unnamed, server);
		const slot = nextSlot(this.#slot);
		const encoded = await sealSuperblock(anchor, superblock);
		const hash = labelOf(encoded);
		await this.#clearStrayed();
		if (directory) {
			// Not in the place of the secured superblock's, which counts until this one does.
			await block.write({extents: [directory.address, 1], data: directory.data});
		}

		// Both come before the superblock: whoever finds it there can tell a crash from an anchor that is older than the medium.
		await allEnded([block.sync({}), anchor.intend({hash})]);
		await block.write({extents: [slot, 1], data: encoded});
		await block.sync({});
		const {flushKey} = await anchor.secure({hash, generation: superblock.lastSecuredGeneration, creating: false});
		this.#anchoredHash = hash;
		this.#isLogSettled = true;
		this.#log?.restart(hash, flushKey);
		if (dropsKey(this.#superblock, superblock)) {
			await clearOldKeys(block, slot, superblock);
		}

		this.#superblock = superblock;
		this.#slot = slot;
		this.keyUse.noteSecured(superblock);
	}
}
