/**
 * What a rekeying step has to move (format section 7): in the current tree and in every kept snapshot, newest first,
 * each block on the ways to a range of leaves, once, however many of the trees share it.
 *
 * Blocks of older snapshots are moved even where none of their leaves needs a new key: from the moment the rekeying VBA
 * has passed an entry of the pool, the free tree takes it that no snapshot needs the block in it any more.
 */
import type {Generation, Level, Pba, Vba} from '../container/addresses.js';
import type {HashTree, Path} from '../container/hash-tree.js';
import type {HeldBlocks} from '../container/held-blocks.js';
import type {Range} from './request-queue.js';

/** One of the trees that a rekeying goes through; `generation` is null for the current tree. */
export interface RekeyedTree {
	readonly tree: HashTree;
	readonly generation: Generation | null;
}

/** An inner block that needs a new place. */
export interface InnerMove {
	readonly owner: RekeyedTree;
	readonly vba: Vba;
	readonly level: Level;
	readonly from: Pba;
	readonly generation: Generation;
}

/** A leaf that needs a new place and another key. */
export interface LeafMove {
	readonly owner: RekeyedTree;
	readonly vba: Vba;
	readonly from: Pba;
	readonly generation: Generation;
	readonly label: Uint8Array;
}

/** A block that a newer tree moves and this one refers to as well. */
export interface Shared {
	readonly owner: RekeyedTree;
	readonly vba: Vba;
	/** 0 for a leaf. */
	readonly level: Level;
	readonly from: Pba;
}

export interface RekeyPlan {
	readonly inner: InnerMove[];
	readonly leaves: LeafMove[];
	/** In the order of the trees, upper blocks before lower ones. */
	readonly shared: Shared[];
	/** Ways that the step changes: one leaf of each lowest block that a tree reaches by blocks of its own. */
	readonly ways: Array<{readonly owner: RekeyedTree; readonly vba: Vba; readonly lowest: Level}>;
}

export interface RekeyState {
	readonly held: HeldBlocks;
	/** True for a block that belongs to the current generation: it stays where it is. */
	isVolatile(owner: RekeyedTree, address: Pba, generation: Generation): boolean;
}

export class RekeyPlanner {
	readonly #state: RekeyState;
	readonly #plan: RekeyPlan = {inner: [], leaves: [], shared: [], ways: []};
	/** Blocks of the trees gone through before. */
	readonly #seen = new Set<Pba>();

	constructor(state: RekeyState) {
		this.#state = state;
	}

	/** The plan for a range, or undefined where a block on the way is not held. Changes nothing. */
	static plan(state: RekeyState, trees: readonly RekeyedTree[], range: Range): RekeyPlan | undefined {
		const planner = new RekeyPlanner(state);
		return trees.every(tree => planner.#addTree(tree, range)) ? planner.#plan : undefined;
	}

	#addTree(owner: RekeyedTree, range: Range): boolean {
		const {degree, leafCount} = owner.tree.geometry;
		const end = Math.min(range.vba + range.count, leafCount);
		const own = new Set<Pba>();
		const shared = new Set<Pba>();
		for (let first = range.vba - (range.vba % degree); first < end; first += degree) {
			const path: Path = [];
			if (owner.tree.walk(first, path)) {
				return false;
			}

			if (this.#addWay(owner, first, path, {own, shared})) {
				this.#addLeaves(owner, path, {vba: Math.max(first, range.vba), end: Math.min(first + degree, end)});
			}
		}

		for (const address of own) {
			this.#seen.add(address);
		}

		return true;
	}

	/** Adds the blocks on one way; false where it leads into a part that a newer tree has gone through. */
	#addWay(owner: RekeyedTree, vba: Vba, path: Path, {own, shared}: {own: Set<Pba>; shared: Set<Pba>}): boolean {
		const {maxLevel} = owner.tree.geometry;
		for (let level = maxLevel; level >= 1; level--) {
			const from = owner.tree.addressAt(path, vba, level);
			const generation = owner.tree.generationAt(path, vba, level);
			if (this.#seen.has(from)) {
				if (!shared.has(from)) {
					shared.add(from);
					this.#plan.shared.push({owner, vba, level, from});
					if (level < maxLevel) {
						this.#plan.ways.push({owner, vba, lowest: level + 1});
					}
				}

				return false;
			}

			if (!own.has(from)) {
				own.add(from);
				if (!this.#state.isVolatile(owner, from, generation)) {
					this.#plan.inner.push({owner, vba, level, from, generation});
				}
			}
		}

		this.#plan.ways.push({owner, vba, lowest: 1});
		return true;
	}

	#addLeaves(owner: RekeyedTree, path: Path, {vba, end}: {vba: Vba; end: Vba}): void {
		const {nodes} = this.#state.held;
		const {degree} = owner.tree.geometry;
		for (let leaf = vba; leaf < end; leaf++) {
			const from = nodes.address(path[1], leaf % degree);
			const generation = nodes.generation(path[1], leaf % degree);
			// A leaf that was never written has no content under any key.
			if (generation === 0) {
				continue;
			}

			if (this.#seen.has(from)) {
				this.#plan.shared.push({owner, vba: leaf, level: 0, from});
			} else {
				this.#seen.add(from);
				this.#plan.leaves.push({owner, vba: leaf, from, generation, label: Uint8Array.from(nodes.hash(path[1], leaf % degree))});
			}
		}
	}
}
