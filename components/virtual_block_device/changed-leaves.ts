/**
 * Leaves that have changed since the tree was stored, for the flush log. Only what a log can say is kept: where writes
 * put blocks. Where more than that has changed, or too much, the whole tree has to be stored.
 *
 * Invariant: what a log names is not overwritten before the tree is stored, so its leaves are no longer written in
 * place.
 */
import type {Vba} from '../sessions/vocabulary.js';
import type {LeafChanges} from '../lib/format/flush-log.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {HeldBlocks} from '../lib/tree/held-blocks.js';
import {labelLength} from '../lib/format/label.js';

/** More than this would make opening after a crash slow. */
const countMax = 8192;

/** Where more of the cache than this part is changed, the tree is stored: writes need room for further ways. */
const dirtyPartMax = 3 / 8;

export class ChangedLeaves {
	/** Changed since the last log or store, with the leaf of the free tree that the place came from, or -1. */
	readonly #pending = new Map<Vba, Vba>();
	readonly #logged = new Set<Vba>();
	/** Leaves in places that the medium does not write any more. */
	readonly #misplaced = new Set<Vba>();
	#isWhole = true;

	/**
	 * The leaf has to be written to another place: a log names its current one, or the medium refuses to write there.
	 */
	mustMove(vba: Vba): boolean {
		// One that was written again after it was logged has another place, which no log names yet.
		return (
			(this.#logged.has(vba) && !this.#pending.has(vba)) || (this.#misplaced.size > 0 && this.#misplaced.has(vba))
		);
	}

	/** The medium does not write the leaf's place. */
	noteMisplaced(vba: Vba): void {
		this.#misplaced.add(vba);
	}

	/** A leaf was written to a place taken from `poolLeaf`, or in place (-1). */
	note(vba: Vba, poolLeaf: Vba): void {
		if (poolLeaf >= 0) {
			this.#misplaced.delete(vba);
		}

		if (!this.#isWhole) {
			return;
		}

		if (poolLeaf >= 0 || !this.#pending.has(vba)) {
			this.#pending.set(vba, poolLeaf);
		}

		if (this.#pending.size + this.#logged.size > countMax) {
			this.noteOther();
		}
	}

	/** Something has changed that no log can say. */
	noteOther(): void {
		this.#isWhole = false;
		this.#pending.clear();
	}

	/** The tree was stored. */
	reset(): void {
		this.#isWhole = true;
		this.#pending.clear();
		this.#logged.clear();
		this.#misplaced.clear();
	}

	/**
	 * What has changed since the last call; undefined where a log cannot say it or may not say so much. With no write
	 * under way.
	 */
	take(room: number, {tree, held}: {readonly tree: HashTree; readonly held: HeldBlocks}): LeafChanges | undefined {
		const {nodes} = held;
		const count = this.#pending.size;
		if (!this.#isWhole || count > room || held.dirtyCount > held.frameCount * dirtyPartMax) {
			return undefined;
		}

		const changes = {
			vbas: [...this.#pending.keys()],
			addresses: [] as number[],
			leaves: [...this.#pending.values()],
			labels: new Uint8Array(count * labelLength),
		};
		const path: Path = [];
		for (const [i, vba] of changes.vbas.entries()) {
			if (tree.walk(vba, path)) {
				throw new Error(`the block with leaf ${vba} is changed, but not held`);
			}

			const index = vba % tree.geometry.degree;
			changes.addresses.push(nodes.address(path[1], index));
			changes.labels.set(nodes.hash(path[1], index), i * labelLength);
			this.#logged.add(vba);
		}

		this.#pending.clear();
		return changes;
	}
}
