/**
 * Which emptied leaves still take room on the medium for nothing. Such a leaf keeps its place, whose content belongs to
 * the snapshots that have it there with its label, if any. Once a state is secured in which the leaf is empty, and no
 * kept snapshot has the content, nobody needs it.
 */
import type {Generation, Pba, Vba} from '../sessions/vocabulary.js';
import {HashTree, type Path} from '../lib/tree/hash-tree.js';
import {readOnlyMark, type Device, type KeptSnapshot} from './device.js';

/** Lowest blocks that are remembered one by one; beyond, all that have changed since are gone through. */
const groupCountMax = 16_384;

/** Ways that one step goes down, all snapshots counted: writes wait meanwhile. */
const stepWayCount = 64;

export class EmptiedLeaves {
	readonly #device: Device;
	/** Lowest blocks, by their first leaf, in which leaves were emptied, with the generation of the last one. */
	readonly #emptied = new Map<Vba, Generation>();
	/** A pass through what has changed after a generation. */
	#pass: {readonly after: Generation; vba: Vba} | undefined;

	constructor(device: Device) {
		this.#device = device;
	}

	forget(): void {
		this.#emptied.clear();
		this.#pass = undefined;
	}

	/** Leaves of the lowest block with this leaf were emptied. */
	note(vba: Vba): void {
		const {tree, currentGeneration} = this.#device;
		this.#emptied.set(vba - (vba % tree.geometry.degree), currentGeneration);
		if (this.#emptied.size > groupCountMax) {
			const after = Math.min(...this.#emptied.values()) - 1;
			this.#emptied.clear();
			this.noteChangesAfter(after);
		}
	}

	/** Whatever was emptied after this generation may have become worth nothing. */
	noteChangesAfter(generation: Generation): void {
		this.#pass = {after: Math.min(generation, this.#pass?.after ?? Infinity), vba: 0};
	}

	get isPending(): boolean {
		return this.#emptied.size > 0 || this.#pass !== undefined;
	}

	/** True where something can be done once no more than this generation is secured. */
	isDue(lastSecuredGeneration: Generation): boolean {
		if (this.#device.keys.previousKeyId !== 0) {
			return false;
		}

		return (
			this.#pass !== undefined ||
			[...this.#emptied.values()].some(generation => generation <= lastSecuredGeneration)
		);
	}

	/** Places that nobody needs, of a bounded part. With no write under way. */
	async take(lastSecuredGeneration: Generation, snapshots: readonly KeptSnapshot[]): Promise<Pba[]> {
		// While a rekeying goes on the trees of the snapshots are others than those that are secured.
		if (!this.isDue(lastSecuredGeneration)) {
			return [];
		}

		const trees = snapshots.map(({tree}) => new HashTree(this.#device.held, tree, readOnlyMark));
		const countMax = Math.max(1, Math.floor(stepWayCount / (1 + trees.length)));
		const groups = [...this.#emptied]
			.filter(([, generation]) => generation <= lastSecuredGeneration)
			.slice(0, countMax)
			.map(([vba]) => vba);
		const places: Pba[] = [];
		for (const vba of groups.length > 0 ? groups : await this.#nextOfPass(countMax)) {
			this.#emptied.delete(vba);
			places.push(...(await this.#worthless(vba, lastSecuredGeneration, trees)));
		}

		return places;
	}

	async #worthless(vba: Vba, lastSecuredGeneration: Generation, snapshots: readonly HashTree[]): Promise<Pba[]> {
		const {
			tree,
			held: {nodes},
		} = this.#device;
		const {degree, leafCount} = tree.geometry;
		const path: Path = [];
		if ((await tree.loadWritten(vba, path)) > 0) {
			return [];
		}

		if (tree.generationAt(path, vba, 1) > lastSecuredGeneration) {
			// The secured state may have content where this one has none.
			this.note(vba);
			return [];
		}

		const candidates = new Map<number, Pba>();
		for (let index = 0; index < Math.min(degree, leafCount - vba); index++) {
			if (nodes.generation(path[1], index) !== 0 && nodes.isEmptied(path[1], index)) {
				candidates.set(index, nodes.address(path[1], index));
			}
		}

		for (const snapshot of candidates.size > 0 ? snapshots.filter(({geometry}) => vba < geometry.leafCount) : []) {
			const snapshotPath: Path = [];
			if ((await snapshot.loadWritten(vba, snapshotPath)) === 0) {
				for (const [index, address] of candidates) {
					if (
						nodes.address(snapshotPath[1], index) === address &&
						nodes.generation(snapshotPath[1], index) !== 0 &&
						!nodes.isEmptied(snapshotPath[1], index)
					) {
						candidates.delete(index);
					}
				}
			}
		}

		return [...candidates.values()];
	}

	/** The next lowest blocks of the pass; what has not changed after its generation is skipped whole. */
	async #nextOfPass(countMax: number): Promise<Vba[]> {
		const found: Vba[] = [];
		const {tree} = this.#device;
		for (let looked = 0; this.#pass && looked < stepWayCount && found.length < countMax; looked++) {
			const {vba, after} = this.#pass;
			if (vba >= tree.geometry.leafCount) {
				this.#pass = undefined;
				break;
			}

			const path: Path = [];
			const implied = await tree.loadWritten(vba, path);
			let level = implied;
			for (let upper = tree.geometry.maxLevel; level === 0 && upper >= 1; upper--) {
				level = tree.generationAt(path, vba, upper) <= after ? upper : 0;
			}

			if (level === 0) {
				found.push(vba);
			}

			this.#pass.vba = tree.endOf(vba, Math.max(1, level));
		}

		return found;
	}
}
