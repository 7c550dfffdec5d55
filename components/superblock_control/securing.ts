/**
 * The one commit sequence: blocks, sync, superblock, sync, trust anchor; then the next generation counts.
 *
 * A crash at any point leaves the last state that the trust anchor knows, with every block of it untouched.
 */
import type {Client} from '../../runtime/sdk/session.js';
import type {Generation} from '../container/addresses.js';
import {labelOf} from '../container/label.js';
import {Turn} from '../container/turn.js';
import {encodeSuperblock, nextSlot, type Superblock} from '../container/superblock.js';
import type {block} from '../sessions/block.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {KeyUse} from './key-use.js';
import {horizonOf, securedSuperblock} from './transition.js';

export interface SecuringServers {
	readonly block: Client<typeof block>;
	readonly virtual_block_device: Client<typeof virtualBlockDevice>;
	readonly free_tree: Client<typeof freeTree>;
	readonly trust_anchor: Client<typeof trustAnchor>;
}

export interface OpenState {
	readonly superblock: Superblock;
	/** The slot it lies in. */
	readonly slot: number;
	readonly currentGeneration: Generation;
}

/** A change of the superblock beside that of its trees, applied to the superblock about to be secured. */
export type SuperblockEdit = (superblock: Superblock) => Superblock;

/** A securing that failed half-way: only a reopening tells which state counts. */
export class SecuringInterrupted extends Error {
	override readonly name = 'SecuringInterrupted';
}

export class Securing {
	readonly #servers: SecuringServers;
	readonly #onInterruption: (reason: string) => void;
	#superblock: Superblock;
	#latest: Superblock;
	#slot: number;
	#currentGeneration: Generation;
	/** Counts changes that were acknowledged; a securing covers all that were before its trees were stored. */
	#changeCount = 0;
	#securedChangeCount = 0;
	/** Held while a state is taken to be secured, and while trees and superblock change together. */
	readonly #taking = new Turn();
	/** Changes of the superblock itself that the next securing makes. */
	#edits: SuperblockEdit[] = [];
	#running: Promise<void> | undefined;
	/** Changes that the running securing covers; it covers whatever comes before it has taken its state. */
	#takenChangeCount = 0;
	/** After a sync has failed a later one that succeeds says nothing about what was written before: nothing more is secured. */
	#interruption: SecuringInterrupted | undefined;
	#securedCount = 0;
	readonly keyUse: KeyUse;

	/** @param onInterruption is told why a securing stopped half-way; the component has to start over then */
	constructor(servers: SecuringServers, {superblock, slot, currentGeneration}: OpenState, onInterruption: (reason: string) => void = () => undefined) {
		this.#servers = servers;
		this.#onInterruption = onInterruption;
		this.#superblock = superblock;
		this.#latest = superblock;
		this.#slot = slot;
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

	get currentGeneration(): Generation {
		return this.#currentGeneration;
	}

	/** How often the state has been secured since it was opened. */
	get securedCount(): number {
		return this.#securedCount;
	}

	/** True where a securing could change anything. */
	get isDue(): boolean {
		return this.#changeCount > this.#securedChangeCount;
	}

	/** The state was changed and somebody was told so. */
	noteChange(): void {
		this.#changeCount++;
	}

	/** Secures the state whether or not it was changed. */
	async renew(): Promise<void> {
		this.noteChange();
		await this.flush();
	}

	/** Secures the state with a change of the superblock; it is durable once this resolves, or has not happened. */
	async edit(edit: SuperblockEdit): Promise<void> {
		this.#edits.push(edit);
		this.noteChange();
		try {
			await this.flush();
		} catch (error) {
			this.#edits = this.#edits.filter(other => other !== edit);
			throw error;
		}
	}

	/** Changes trees and superblock together: no securing takes its state between `job` and the change it replies with. */
	async step(job: () => Promise<SuperblockEdit>): Promise<void> {
		await this.#taking.take(async () => {
			this.#edits.push(await job());
			this.noteChange();
		});
	}

	/** Runs `job` while no securing takes its state. */
	async steady<T>(job: () => Promise<T>): Promise<T> {
		return this.#taking.take(job);
	}

	/** Resolves when every change noted before the call is durable. Concurrent calls share one securing. */
	async flush(): Promise<void> {
		const target = this.#changeCount;
		while (this.#securedChangeCount < target) {
			await this.#join(target);
		}
	}

	/** Waits for the running securing or begins one. One that took its state too early has to end first. */
	async #join(target: number): Promise<void> {
		if (this.#running && this.#takenChangeCount < target) {
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
		this.#running = this.#secure();
		try {
			await this.#running;
		} finally {
			this.#running = undefined;
		}
	}

	async #secure(): Promise<void> {
		const {generation, covered, superblock} = await this.#taking.take(async () => this.#takeState());
		try {
			await this.#anchor(superblock);
		} catch (error) {
			this.#interruption = new SecuringInterrupted(`securing generation ${generation} failed: ${error instanceof Error ? error.message : String(error)}`);
			this.#onInterruption(this.#interruption.message);
			throw this.#interruption;
		}

		this.#securedChangeCount = covered;
		this.#securedCount++;
		await this.#servers.free_tree.advance(horizonOf(this.#superblock));
	}

	/** Stores the trees and composes the superblock for them. A failure leaves everything to be taken again. */
	async #takeState(): Promise<{generation: Generation; covered: number; superblock: Superblock}> {
		const generation = this.#currentGeneration;
		const covered = this.#changeCount;
		this.#takenChangeCount = covered;
		const trees = await this.#servers.virtual_block_device.store({nextGeneration: generation + 1});
		this.#currentGeneration = generation + 1;
		const edits = this.#edits;
		this.#edits = [];
		const superblock = this.keyUse.reserve(edits.reduce((edited, edit) => edit(edited), securedSuperblock(this.#superblock, generation, trees)));
		this.#latest = superblock;
		return {generation, covered, superblock};
	}

	async #anchor(superblock: Superblock): Promise<void> {
		const {block, trust_anchor: anchor} = this.#servers;
		const slot = nextSlot(this.#slot);
		const encoded = encodeSuperblock(superblock);
		await block.sync({});
		await block.write({extents: [slot, 1], data: encoded});
		await block.sync({});
		await anchor.secure({hash: labelOf(encoded), generation: superblock.lastSecuredGeneration, creating: false});
		this.#superblock = superblock;
		this.#slot = slot;
		this.keyUse.noteSecured(superblock);
	}
}
