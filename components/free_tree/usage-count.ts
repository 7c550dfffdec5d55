/**
 * Counts what a pool has to hand out. The count of each lowest block is kept until something changes it: its entries, a
 * checkpoint that frees one of them, or the kept snapshots. So a count costs what has changed since the last one,
 * whatever the size of the pool; only after a change of the snapshots it goes through all of it.
 */
import type {Generation, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {NodeBlocks} from '../lib/format/node-blocks.js';
import type {Horizon} from './horizon.js';

export interface Usage {
	readonly leafCount: number;
	/** Entries that could be handed out now. */
	readonly allocatableCount: number;
	/** Entries that only kept snapshots hold. */
	readonly heldCount: number;
}

/** Lowest blocks that are loaded and counted in one step: others get their turn in between. */
const stepBlockCount = 64;

const neverCounted = -1;

export class UsageCount {
	readonly #tree: HashTree;
	readonly #nodes: NodeBlocks;
	readonly #blockCount: number;
	/** By lowest block, what was counted … */
	readonly #allocatable: Uint8Array;
	readonly #held: Uint8Array;
	/** … for these snapshots … */
	readonly #version: Float64Array;
	/** … and until this generation is secured. */
	readonly #wakeGeneration: Float64Array;
	/** Where a count that goes through all blocks has come to. */
	#next = 0;

	constructor(tree: HashTree, nodes: NodeBlocks) {
		this.#tree = tree;
		this.#nodes = nodes;
		this.#blockCount = Math.ceil(tree.geometry.leafCount / tree.geometry.degree);
		this.#allocatable = new Uint8Array(this.#blockCount);
		this.#held = new Uint8Array(this.#blockCount);
		this.#version = new Float64Array(this.#blockCount).fill(neverCounted);
		this.#wakeGeneration = new Float64Array(this.#blockCount);
	}

	/** The entries of the lowest block with this leaf have changed. */
	forget(leaf: Vba): void {
		this.#version[Math.floor(leaf / this.#tree.geometry.degree)] = neverCounted;
	}

	/** Counts some of what is not known; undefined while there is more, so that the caller asks again. */
	async step(horizon: Horizon): Promise<Usage | undefined> {
		this.#next = await this.#refresh(this.#next, horizon);
		if (this.#next < this.#blockCount) {
			return undefined;
		}

		this.#next = 0;
		return this.#sum();
	}

	/** Counts what can be handed out now, up to `enough`: then it may be more. */
	async allocatableCount(enough: number, horizon: Horizon): Promise<number> {
		let count = 0;
		for (let first = 0; first < this.#blockCount && count < enough;) {
			const next = await this.#refresh(first, horizon);
			for (; first < next; first++) {
				count += this.#allocatable[first];
			}
		}

		return count;
	}

	/**
	 * Sees to it that blocks from `first` on are counted, a bounded part of them; replies the first one that may not
	 * be.
	 */
	async #refresh(first: number, horizon: Horizon): Promise<number> {
		const {degree} = this.#tree.geometry;
		let missing: number[] = [];
		let block = first;
		for (let counted = 0; block < this.#blockCount && counted < stepBlockCount; block++) {
			if (this.#isStale(block, horizon)) {
				counted++;
				if (!this.#countIfHeld(block, horizon)) {
					missing.push(block);
				}
			}
		}

		while (missing.length > 0) {
			await this.#tree.load(missing.map(lowest => lowest * degree));
			missing = missing.filter(lowest => !this.#countIfHeld(lowest, horizon));
		}

		return block;
	}

	#isStale(block: number, {snapshotVersion, lastSecuredGeneration}: Horizon): boolean {
		return this.#version[block] !== snapshotVersion || lastSecuredGeneration >= this.#wakeGeneration[block];
	}

	/** Counts a block, or all blocks of a part of the pool of which none was ever used; false where it is not held. */
	#countIfHeld(block: number, horizon: Horizon): boolean {
		const {degree, leafCount} = this.#tree.geometry;
		const path: Path = [];
		const level = this.#tree.walkWritten(block * degree, path);
		if (typeof level !== 'number') {
			return false;
		}

		if (level === 0) {
			this.#count(block, horizon);
			return true;
		}

		const end = Math.ceil(this.#tree.endOf(block * degree, level) / degree);
		for (let unused = block; unused < end; unused++) {
			this.#allocatable[unused] = Math.min(degree, leafCount - unused * degree);
			this.#held[unused] = 0;
			this.#version[unused] = horizon.snapshotVersion;
			this.#wakeGeneration[unused] = Infinity;
		}

		return true;
	}

	#count(block: number, horizon: Horizon): void {
		const {degree, leafCount} = this.#tree.geometry;
		const firstLeaf = block * degree;
		const path: Path = [];
		this.#tree.walk(firstLeaf, path);
		const frame = path[1];
		let allocatable = 0;
		let held = 0;
		let wake: Generation = Infinity;
		for (let index = 0; index < Math.min(degree, leafCount - firstLeaf); index++) {
			if (horizon.isAllocatable(this.#nodes, frame, index)) {
				allocatable++;
				continue;
			}

			if (horizon.isHeldBySnapshot(this.#nodes, frame, index)) {
				held++;
			}

			const freed = this.#nodes.poolFreeGeneration(frame, index);
			if (freed > horizon.lastSecuredGeneration && this.#nodes.address(frame, index) !== 0) {
				wake = Math.min(wake, freed);
			}
		}

		this.#allocatable[block] = allocatable;
		this.#held[block] = held;
		this.#version[block] = horizon.snapshotVersion;
		this.#wakeGeneration[block] = wake;
	}

	#sum(): Usage {
		let allocatableCount = 0;
		let heldCount = 0;
		for (let block = 0; block < this.#blockCount; block++) {
			allocatableCount += this.#allocatable[block];
			heldCount += this.#held[block];
		}

		return {leafCount: this.#tree.geometry.leafCount, allocatableCount, heldCount};
	}
}
