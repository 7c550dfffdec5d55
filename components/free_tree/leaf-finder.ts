/**
 * Finds pool entries that may be handed out, round and round through the leaves of a pool tree.
 *
 * A lowest block that was searched in vain is remembered with what could change that: the generation whose checkpoint
 * frees its next entry, and the kept snapshots. So the cost of an allocation does not grow with the time since the last
 * checkpoint, nor with the part of the pool that is taken.
 */
import type {Frame, Generation, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {NodeBlocks} from '../lib/format/node-blocks.js';
import type {Horizon} from './horizon.js';

/** Entries found in one lowest block. */
export interface PoolSlots {
	/** The first leaf of the block. */
	readonly firstLeaf: Vba;
	/** Positions of the entries in the block. */
	readonly indexes: number[];
}

export class LeafFinder {
	readonly #tree: HashTree;
	readonly #nodes: NodeBlocks;
	readonly #blockCount: number;
	/** By lowest block: searched in vain until this generation is secured … */
	readonly #wakeGeneration: Float64Array;
	/** … or the kept snapshots are no longer those of this version. */
	readonly #wakeVersion: Float64Array;
	#cursor = 0;

	constructor(tree: HashTree, nodes: NodeBlocks) {
		this.#tree = tree;
		this.#nodes = nodes;
		this.#blockCount = Math.ceil(tree.geometry.leafCount / tree.geometry.degree);
		this.#wakeGeneration = new Float64Array(this.#blockCount);
		this.#wakeVersion = new Float64Array(this.#blockCount).fill(-1);
	}

	/** Finds `count` entries, or fewer where there are no more. Nothing is changed but the memory of vain searches. */
	async find(count: number, horizon: Horizon): Promise<PoolSlots[]> {
		const slots: PoolSlots[] = [];
		try {
			await this.#collect(count, horizon, slots);
		} catch (error) {
			// Where one block cannot be read nothing is taken from the others either.
			for (const {firstLeaf} of slots) {
				this.forget(firstLeaf);
			}

			throw error;
		}

		return slots;
	}

	async #collect(count: number, horizon: Horizon, slots: PoolSlots[]): Promise<void> {
		let missing = count;
		for (let searched = 0; searched < this.#blockCount && missing > 0; searched++) {
			if (this.#mayHold(this.#cursor, horizon)) {
				const slot = await this.#search(this.#cursor, missing, horizon);
				if (slot.indexes.length > 0) {
					slots.push(slot);
					missing -= slot.indexes.length;
				}
			}

			if (missing > 0) {
				this.#cursor = (this.#cursor + 1) % this.#blockCount;
			}
		}
	}

	/** Found entries were not taken, or entries came back: their blocks are worth another search. */
	forget(leaf: Vba): void {
		this.#wakeVersion[Math.floor(leaf / this.#tree.geometry.degree)] = -1;
	}

	/** The next search begins at the block with this leaf. */
	goBackTo(leaf: Vba): void {
		this.#cursor = Math.floor(leaf / this.#tree.geometry.degree);
	}

	#mayHold(block: number, horizon: Horizon): boolean {
		return (
			this.#wakeVersion[block] !== horizon.snapshotVersion ||
			horizon.lastSecuredGeneration >= this.#wakeGeneration[block]
		);
	}

	async #search(block: number, count: number, horizon: Horizon): Promise<PoolSlots> {
		const {degree, leafCount} = this.#tree.geometry;
		const firstLeaf = block * degree;
		const path: Path = [];
		await this.#tree.load([firstLeaf]);
		this.#tree.walk(firstLeaf, path);
		const frame = path[1];
		const indexes: number[] = [];
		let wake = Infinity;
		const entryCount = Math.min(degree, leafCount - firstLeaf);
		for (let index = 0; index < entryCount && indexes.length < count; index++) {
			if (horizon.isAllocatable(this.#nodes, frame, index)) {
				indexes.push(index);
			} else {
				wake = Math.min(wake, this.#wakeOf(frame, index, horizon));
			}
		}

		if (indexes.length > 0) {
			// What is found is taken, and its entry then holds a block that is freed in this generation.
			wake = Math.min(wake, horizon.currentGeneration);
		}

		if (indexes.length < count) {
			this.#wakeVersion[block] = horizon.snapshotVersion;
			this.#wakeGeneration[block] = wake;
		}

		return {firstLeaf, indexes};
	}

	/** The generation whose checkpoint may free an entry; never where only a snapshot holds it. */
	#wakeOf(frame: Frame, index: number, horizon: Horizon): Generation {
		const freed = this.#nodes.poolFreeGeneration(frame, index);
		return freed > horizon.lastSecuredGeneration && this.#nodes.address(frame, index) !== 0 ? freed : Infinity;
	}
}
