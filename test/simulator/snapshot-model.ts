/** Which snapshots a device may have, and what each holds: a copy of the content at some moment of its creation. */
import type {Stamp} from './content.js';
import type {Moment} from './model.js';

/** Stamps by VBA, undefined where a block cannot be read. */
export type Content = ReadonlyArray<Stamp | undefined>;

interface Window {
	readonly from: Moment;
	readonly to: Moment;
}

export class SnapshotModel {
	/** Snapshots whose content has been read once; it never changes. */
	readonly #known = new Map<number, Content>();
	/** Snapshots that were created but not read yet: their content is of a moment in the window. */
	readonly #named = new Map<number, Window>();
	/** Creations without an answer, by their beginnings: they may have happened. */
	readonly #creations = new Set<Moment>();
	/** Discards without an answer. */
	readonly #discards = new Set<number>();
	/** Discarded for good. */
	readonly #gone = new Set<number>();

	copy(): SnapshotModel {
		const copy = new SnapshotModel();
		for (const [from, to] of [[this.#known, copy.#known], [this.#named, copy.#named]] as Array<[Map<number, unknown>, Map<number, unknown>]>) {
			for (const [generation, value] of from) {
				to.set(generation, value);
			}
		}

		for (const [from, to] of [[this.#creations, copy.#creations], [this.#discards, copy.#discards], [this.#gone, copy.#gone]]) {
			for (const value of from) {
				to.add(value);
			}
		}

		return copy;
	}

	/** Names of the snapshots that nobody is about to discard. */
	get names(): number[] {
		return [...this.#known.keys(), ...this.#named.keys()].filter(generation => !this.#discards.has(generation));
	}

	/** True where any snapshot may hold blocks. */
	get mayHoldBlocks(): boolean {
		return this.#known.size + this.#named.size + this.#creations.size + this.#discards.size > 0;
	}

	/** What happened before can no longer show in a snapshot. */
	get oldestMoment(): Moment {
		return Math.min(...this.#creations, ...[...this.#named.values()].map(({from}) => from));
	}

	contentOf(generation: number): Content | undefined {
		return this.#known.get(generation);
	}

	windowOf(generation: number): Window | undefined {
		return this.#named.get(generation);
	}

	/** True where a snapshot may be missing, since somebody gave it up. */
	mayBeGone(generation: number): boolean {
		return this.#gone.has(generation) || this.#discards.has(generation);
	}

	isGone(generation: number): boolean {
		return this.#gone.has(generation);
	}

	beginCreation(begin: Moment): void {
		this.#creations.add(begin);
	}

	/** `generation` is undefined where nothing was created. */
	endCreation(begin: Moment, to: Moment, generation?: number): void {
		this.#creations.delete(begin);
		if (generation !== undefined && !this.#known.has(generation) && !this.#named.has(generation) && !this.#gone.has(generation)) {
			this.#named.set(generation, {from: begin, to});
		}
	}

	learn(generation: number, content: Content): void {
		this.#named.delete(generation);
		this.#known.set(generation, content);
	}

	beginDiscard(generation: number): void {
		this.#discards.add(generation);
	}

	/** It was refused before anything was done about it. */
	cancelDiscard(generation: number): void {
		this.#discards.delete(generation);
	}

	endDiscard(generation: number): void {
		this.#discards.delete(generation);
		this.#known.delete(generation);
		this.#named.delete(generation);
		this.#gone.add(generation);
	}

	/** After a crash: when the unanswered creations began; undefined where there is none. */
	get pendingSince(): Moment | undefined {
		return this.#creations.size > 0 ? Math.min(...this.#creations) : undefined;
	}

	get pendingCount(): number {
		return this.#creations.size;
	}

	/** After a crash: snapshots that must be there. */
	get required(): number[] {
		return this.names;
	}

	/** After a crash the device has exactly these, all of them known; what was under way is settled. */
	settle(present: readonly number[]): void {
		for (const generation of [...this.#known.keys()]) {
			if (!present.includes(generation)) {
				this.#known.delete(generation);
				this.#gone.add(generation);
			}
		}

		this.#named.clear();
		this.#creations.clear();
		this.#discards.clear();
	}
}
