/**
 * Allocation from the meta tree: new places for inner blocks of the free tree, and for the meta tree's own blocks on
 * the way, which take theirs from the same lowest block (format section 5). A plan changes nothing until it is applied.
 */
import type {Level, Pba, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {NodeBlocks} from '../lib/format/node-blocks.js';
import {
	addLeaves,
	addLevelIfFull,
	branchToMove,
	isBranchHeld,
	moveBranch,
	type BranchBlock,
	type BumpAllocator,
} from '../lib/tree/tree-growth.js';
import {setFreeEntry} from './free-entry.js';
import type {Horizon} from './horizon.js';

/** What one lowest block of the meta tree gives. */
interface MetaStep {
	readonly firstLeaf: Vba;
	/** Levels of the blocks on the way, lowest first, that move to places of this block. */
	readonly movedLevels: Level[];
	/** Entries for the moved levels first, then for the client. */
	readonly indexes: number[];
}

export interface MetaPlan {
	readonly steps: readonly MetaStep[];
}

/** A block of another tree that needs a new place. */
export interface ReplacedBlock {
	readonly address: Pba;
}

export class MetaTree {
	readonly tree: HashTree;
	readonly #nodes: NodeBlocks;
	#cursor = 0;

	constructor(tree: HashTree, nodes: NodeBlocks) {
		this.tree = tree;
		this.#nodes = nodes;
	}

	/** Plans `count` places; undefined where the meta tree cannot give as many before the next checkpoint. */
	async plan(count: number, horizon: Horizon): Promise<MetaPlan | undefined> {
		const steps: MetaStep[] = [];
		/** First leaves of blocks, by level, that earlier steps of this plan move already. */
		const planned = new Set<string>();
		const blockCount = Math.ceil(this.tree.geometry.leafCount / this.tree.geometry.degree);
		const used = new Set<number>();
		let missing = count;
		// Twice around: a block that cannot even supply its own way may do so once another step has moved a part of it.
		for (let searched = 0; searched < 2 * blockCount && missing > 0; searched++) {
			const step = used.has(this.#cursor)
				? undefined
				: await this.#planStep(this.#cursor * this.tree.geometry.degree, missing, horizon, planned);
			if (step) {
				used.add(this.#cursor);
				steps.push(step);
				missing -= step.indexes.length - step.movedLevels.length;
			}

			if (missing > 0) {
				this.#cursor = (this.#cursor + 1) % blockCount;
			}
		}

		return missing === 0 ? {steps} : undefined;
	}

	/**
	 * Adds leaves behind the last one. Undefined where the tree has too little to hand out before the next checkpoint for
	 * the blocks of the branch; then none is added.
	 */
	async grow(allocator: BumpAllocator, horizon: Horizon): Promise<number | undefined> {
		const {currentGeneration: generation} = horizon;
		addLevelIfFull(this.tree, allocator, generation);
		for (
			let branch = await branchToMove(this.tree, generation);
			branch.length > 0;
			branch = await branchToMove(this.tree, generation)
		) {
			if (!(await this.#movePartOf(branch, horizon))) {
				return undefined;
			}
		}

		while (!isBranchHeld(this.tree, this.tree.geometry.leafCount)) {
			await this.tree.loadExisting(this.tree.geometry.leafCount);
		}

		return addLeaves(this.tree, allocator, {
			generation,
			setLeaf: (frame, index, address) => {
				setFreeEntry(this.#nodes, frame, index, address);
			},
		});
	}

	/** Moves blocks of a branch to places from one lowest block, the uppermost first; false where no block has any. */
	async #movePartOf(branch: readonly BranchBlock[], horizon: Horizon): Promise<boolean> {
		const {geometry} = this.tree;
		const blockCount = Math.ceil(geometry.leafCount / geometry.degree);
		for (let searched = 0; searched < blockCount; searched++) {
			const firstLeaf = this.#cursor * geometry.degree;
			// What lies on the way to the supplying block moves with it.
			const own = branch.filter(
				({level, vba}) => geometry.lowestVba(vba, level) !== geometry.lowestVba(firstLeaf, level),
			);
			const step = await this.#planStep(firstLeaf, own.length, horizon, new Set());
			if (step) {
				const moved = own.slice(own.length - (step.indexes.length - step.movedLevels.length));
				do {
					await this.tree.loadExisting(geometry.leafCount);
					await this.tree.load([firstLeaf]);
				} while (!isBranchHeld(this.tree, geometry.leafCount) || this.tree.walk(firstLeaf, []) !== undefined);
				moveBranch(this.tree, moved, this.apply({steps: [step]}, moved, horizon), horizon.currentGeneration);
				return true;
			}

			this.#cursor = (this.#cursor + 1) % blockCount;
		}

		return false;
	}

	/** Leaves whose ways have to be held while the plan is applied. */
	leavesOf(plan: MetaPlan): Vba[] {
		return plan.steps.map(({firstLeaf}) => firstLeaf);
	}

	/** Carries a plan out, synchronously, and returns the new places for `replaced`. */
	apply(plan: MetaPlan, replaced: readonly ReplacedBlock[], horizon: Horizon): Pba[] {
		const places: Pba[] = [];
		for (const step of plan.steps) {
			const path: Path = [];
			this.tree.walk(step.firstLeaf, path);
			for (const [i, level] of step.movedLevels.entries()) {
				const old = this.tree.addressAt(path, step.firstLeaf, level);
				const address = this.#exchange(path, step.indexes[i], old, horizon);
				this.tree.moveBlock(path, step.firstLeaf, level, {address, generation: horizon.currentGeneration});
			}

			for (const index of step.indexes.slice(step.movedLevels.length)) {
				places.push(this.#exchange(path, index, replaced[places.length].address, horizon));
			}

			this.tree.markDirty(path, step.firstLeaf);
		}

		return places;
	}

	async #planStep(
		firstLeaf: Vba,
		count: number,
		horizon: Horizon,
		planned: Set<string>,
	): Promise<MetaStep | undefined> {
		const {degree, leafCount, maxLevel} = this.tree.geometry;
		const path: Path = [];
		await this.tree.load([firstLeaf]);
		this.tree.walk(firstLeaf, path);
		const keyOf = (level: Level) => `${level}:${this.tree.geometry.lowestVba(firstLeaf, level)}`;
		const movedLevels: Level[] = [];
		for (let level = 1; level <= maxLevel; level++) {
			if (
				this.tree.generationAt(path, firstLeaf, level) !== horizon.currentGeneration &&
				!planned.has(keyOf(level))
			) {
				movedLevels.push(level);
			}
		}

		const indexes: number[] = [];
		const entryCount = Math.min(degree, leafCount - firstLeaf);
		for (let index = 0; index < entryCount && indexes.length < count + movedLevels.length; index++) {
			if (horizon.isMetaAllocatable(this.#nodes, path[1], index)) {
				indexes.push(index);
			}
		}

		if (indexes.length < movedLevels.length + Math.min(count, 1)) {
			return undefined;
		}

		for (const level of movedLevels) {
			planned.add(keyOf(level));
		}

		return {firstLeaf, movedLevels, indexes};
	}

	#exchange(path: Path, index: number, old: Pba, {currentGeneration}: Horizon): Pba {
		const address = this.#nodes.address(path[1], index);
		this.#nodes.setPoolEntry(path[1], index, {
			address: old,
			lastVba: 0,
			allocGeneration: currentGeneration,
			freeGeneration: currentGeneration,
			lastKeyId: 0,
			reserved: false,
		});
		return address;
	}
}
