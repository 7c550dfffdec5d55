/** Which snapshots a device may have, and what each holds: a copy of the content at some moment of its creation. */
import type {Stamp} from './content.js';
import type {Moment} from './moment.js';
import {SimulationFailure} from './simulation-failure.js';

/** Stamps by VBA, undefined where a block cannot be read. */
export type Content = ReadonlyArray<Stamp | undefined>;

/** Beside its content. */
interface Marks {
	readonly name?: string | undefined;
	readonly time?: number | undefined;
}

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
	/** What snapshots are called, and when they were taken, as far as that is known. */
	readonly #marks = new Map<number, Marks>();
	/** Names that were asked for without an answer. */
	readonly #pendingNames = new Set<string>();
	#nameCount = 0;

	copy(): SnapshotModel {
		const copy = new SnapshotModel();
		for (const [from, to] of [
			[this.#known, copy.#known],
			[this.#named, copy.#named],
		] as Array<[Map<number, unknown>, Map<number, unknown>]>) {
			for (const [generation, value] of from) {
				to.set(generation, value);
			}
		}

		for (const [from, to] of [
			[this.#creations, copy.#creations],
			[this.#discards, copy.#discards],
			[this.#gone, copy.#gone],
		]) {
			for (const value of from) {
				to.add(value);
			}
		}

		for (const [generation, marks] of this.#marks) {
			copy.#marks.set(generation, marks);
		}

		for (const name of this.#pendingNames) {
			copy.#pendingNames.add(name);
		}

		copy.#nameCount = this.#nameCount;
		return copy;
	}

	/** What the next snapshot is to be called: one of three gets no name. */
	nextName(): string | undefined {
		this.#nameCount++;
		const name = this.#nameCount % 3 === 0 ? undefined : `state ${this.#nameCount}`;
		if (name !== undefined) {
			this.#pendingNames.add(name);
		}

		return name;
	}

	/**
	 * The request for the name was answered; `generation` is undefined where it was refused. A discard that is under
	 * way may be refused, too: then the snapshot stays, and is called so.
	 */
	endNaming(name: string | undefined, generation?: number): void {
		if (
			name !== undefined &&
			this.#pendingNames.delete(name) &&
			generation !== undefined &&
			!this.isGone(generation)
		) {
			this.#marks.set(generation, {...this.#marks.get(generation), name});
		}
	}

	/**
	 * Judges names and times of the snapshots that there are, and takes them as the truth. `areNamesLegible` is false
	 * where damage or a medium that fails excuses that names are missing. @throws SimulationFailure
	 */
	judgeMarks(
		listed: ReadonlyArray<Marks & {readonly generation: number}>,
		{hasTimes, areNamesLegible}: {hasTimes: boolean; areNamesLegible: boolean},
	): void {
		for (const {generation, name, time} of listed) {
			const known = this.#marks.get(generation);
			const isNameRight =
				name === known?.name ||
				(known?.name === undefined && name !== undefined && this.#pendingNames.has(name)) ||
				(!areNamesLegible && name === undefined);
			const isTimeRight = (time !== undefined) === hasTimes && (known?.time === undefined || known.time === time);
			if (!isNameRight || !isTimeRight) {
				throw new SimulationFailure(
					`snapshot ${generation} has the name ${name} and the time ${time}, it had ${JSON.stringify(known)}; being named: ${[...this.#pendingNames].join(', ')}`,
				);
			}

			this.#marks.set(generation, {name: name ?? known?.name, time});
		}

		const names = listed.flatMap(({name}) => (name === undefined ? [] : [name]));
		if (new Set(names).size < names.length) {
			throw new SimulationFailure(`two snapshots have one name: ${names.join(', ')}`);
		}
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
		if (
			generation !== undefined &&
			!this.#known.has(generation) &&
			!this.#named.has(generation) &&
			!this.#gone.has(generation)
		) {
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
		this.#marks.delete(generation);
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
		this.#pendingNames.clear();
		this.#creations.clear();
		this.#discards.clear();
	}
}
