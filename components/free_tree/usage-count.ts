/**
 * Counts what a pool has to hand out. The count of each lowest block is kept until something changes it: its entries, a
 * securing that frees one of them, or the kept snapshots. So a count costs what has changed since the last one, whatever
 * the size of the pool; only after a change of the snapshots it goes through all of it.
 */
import type {Generation, Vba} from '../container/addresses.js';
import type {HashTree, Path} from '../container/hash-tree.js';
import type {NodeBlocks} from '../container/node-blocks.js';
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
		const {degree} = this.#tree.geometry;
		const stale = this.#stale(horizon);
		if (stale.length === 0) {
			return this.#sum();
		}

		await this.#tree.load(stale.map(block => block * degree));
		for (const block of stale) {
			this.#count(block, horizon);
		}

		return stale.length < stepBlockCount ? this.#sum() : undefined;
	}

	/** Blocks whose count is not known any more, as many as one step takes. */
	#stale({snapshotVersion, lastSecuredGeneration}: Horizon): number[] {
		const stale: number[] = [];
		for (let block = 0; block < this.#blockCount && stale.length < stepBlockCount; block++) {
			if (this.#version[block] !== snapshotVersion || lastSecuredGeneration >= this.#wakeGeneration[block]) {
				stale.push(block);
			}
		}

		return stale;
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
