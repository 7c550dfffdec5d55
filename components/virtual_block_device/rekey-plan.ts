/**
 * What a rekeying step has to move (format section 7): in the current tree and in every kept snapshot, newest first,
 * each block on the ways to a range of leaves, once, however many of the trees share it.
 *
 * Blocks of older snapshots are moved even where none of their leaves needs a new key: from the moment the rekeying VBA
 * has passed an entry of the pool, the free tree takes it that no snapshot needs the block in it any more.
 *
 * Trees share a block only where their nodes say the same of it. What a tree refers to at the address of another tree's
 * block, with another label, generation or place, is judged by its own label.
 */
import type {Frame, Generation, Level, NodeIndex, Pba, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import type {HeldBlocks, WantedBlock} from '../lib/tree/held-blocks.js';
import {SeenBlocks, type BlockReference} from '../lib/tree/seen-blocks.js';
import type {Range} from './request-queue.js';

/** One of the trees that a rekeying goes through; `generation` is null for the current tree. */
export interface RekeyedTree {
	readonly tree: HashTree;
	readonly generation: Generation | null;
}

/** A block that the step deals with; the first tree that refers to it owns it. */
export interface RekeyedBlock extends BlockReference {
	readonly owner: RekeyedTree;
	/** A leaf on the way to it. */
	readonly vba: Vba;
	/** An inner block that does not match its label: nobody can say what lies below it. */
	readonly isLost: boolean;
	/** A leaf without content: only its place changes. */
	readonly isEmptied: boolean;
}

/** A block that a newer tree deals with and this one refers to as well. */
export interface Shared {
	readonly owner: RekeyedTree;
	readonly vba: Vba;
	readonly block: RekeyedBlock;
}

export interface RekeyPlan {
	/** Inner blocks that need a new place. */
	readonly inner: RekeyedBlock[];
	/** Leaves that need a new place and another key. */
	readonly leaves: RekeyedBlock[];
	/** Lost blocks that stay where they are. */
	readonly lostInPlace: RekeyedBlock[];
	/**
	 * Blocks whose nodes get an older generation: the original lets a snapshot share blocks that are newer than itself,
	 * and the pool would not hold these for it once the current tree has others.
	 */
	readonly generations: Map<RekeyedBlock, Generation>;
	/** In the order of the trees, upper blocks before lower ones. */
	readonly shared: Shared[];
	/** Ways that the step changes: one leaf of each lowest block that a tree reaches by blocks of its own. */
	readonly ways: Array<{readonly owner: RekeyedTree; readonly vba: Vba; readonly lowest: Level}>;
}

export interface RekeyState {
	readonly held: HeldBlocks;
	/** True for a block that belongs to the current generation: it stays where it is. */
	isVolatile(owner: RekeyedTree, address: Pba, generation: Generation): boolean;
	/** True for an inner block that was read and does not match this label. */
	isLost(block: WantedBlock): boolean;
	/** True where the leaf at a node, which was written, has no content. */
	isEmptied(frame: Frame, index: NodeIndex): boolean;
}

export class RekeyPlanner {
	readonly #state: RekeyState;
	readonly #plan: RekeyPlan = {inner: [], leaves: [], lostInPlace: [], generations: new Map(), shared: [], ways: []};
	/** Blocks of the trees gone through before. */
	readonly #seen = new SeenBlocks<RekeyedBlock>();

	constructor(state: RekeyState) {
		this.#state = state;
	}

	/** The plan for a range, or undefined where a block on the way is neither held nor lost. Changes nothing. */
	static plan(state: RekeyState, trees: readonly RekeyedTree[], range: Range): RekeyPlan | undefined {
		const planner = new RekeyPlanner(state);
		return trees.every(tree => planner.#addTree(tree, range)) ? planner.#plan : undefined;
	}

	#addTree(owner: RekeyedTree, range: Range): boolean {
		const {degree, leafCount} = owner.tree.geometry;
		const end = Math.min(range.vba + range.count, leafCount);
		const own = new SeenBlocks<RekeyedBlock>();
		const shared = new Set<RekeyedBlock>();
		for (let first = range.vba - (range.vba % degree); first < end; first += degree) {
			const path: Path = [];
			const wanted = owner.tree.walk(first, path);
			if (wanted && !this.#state.isLost(wanted)) {
				return false;
			}

			if (this.#addWay(owner, first, path, {own, shared, lostLevel: wanted?.level})) {
				this.#addLeaves(owner, path, {vba: Math.max(first, range.vba), end: Math.min(first + degree, end)});
			}
		}

		for (const block of own) {
			this.#seen.add(block);
			this.#limit(block, owner);
		}

		return true;
	}

	/**
	 * Adds the blocks on one way; false where it leads into a part that a newer tree has gone through, or nobody can.
	 */
	#addWay(
		owner: RekeyedTree,
		vba: Vba,
		path: Path,
		{
			own,
			shared,
			lostLevel,
		}: {own: SeenBlocks<RekeyedBlock>; shared: Set<RekeyedBlock>; lostLevel: Level | undefined},
	): boolean {
		const {maxLevel} = owner.tree.geometry;
		for (let level = maxLevel; level >= 1; level--) {
			const block = innerBlockAt(owner, path, {vba, level, isLost: level === lostLevel});
			const seen = this.#seen.find(block);
			if (seen) {
				if (!shared.has(seen)) {
					shared.add(seen);
					this.#plan.shared.push({owner, vba, block: seen});
					this.#limit(seen, owner);
					this.#addChangedWay(owner, vba, level + 1);
				}

				return false;
			}

			if (!own.find(block)) {
				own.add(block);
				this.#addBlock(block);
				if (block.isLost) {
					this.#addChangedWay(owner, vba, level + 1);
				}
			}

			if (block.isLost) {
				return false;
			}
		}

		this.#addChangedWay(owner, vba, 1);
		return true;
	}

	#addBlock(block: RekeyedBlock): void {
		const {owner, address, generation, isLost} = block;
		if (!this.#state.isVolatile(owner, address, generation)) {
			this.#plan.inner.push(block);
		} else if (isLost) {
			this.#plan.lostInPlace.push(block);
		}
	}

	/** A snapshot has this block and, as far as its owner has, those below it: none of them may be newer. */
	#limit(
		block: RekeyedBlock,
		{
			generation,
			tree: {
				geometry: {degree},
			},
		}: RekeyedTree,
	): void {
		if (generation === null || block.generation <= generation) {
			return;
		}

		const end = block.lowestVba + degree ** block.level;
		for (const other of this.#seen) {
			const isBelow =
				other.owner === block.owner &&
				other.level <= block.level &&
				block.lowestVba <= other.lowestVba &&
				other.lowestVba < end;
			if (isBelow && other.generation > generation) {
				this.#plan.generations.set(
					other,
					Math.min(generation, this.#plan.generations.get(other) ?? generation),
				);
			}
		}
	}

	#addChangedWay(owner: RekeyedTree, vba: Vba, lowest: Level): void {
		if (lowest <= owner.tree.geometry.maxLevel) {
			this.#plan.ways.push({owner, vba, lowest});
		}
	}

	#addLeaves(owner: RekeyedTree, path: Path, {vba, end}: {vba: Vba; end: Vba}): void {
		const {nodes} = this.#state.held;
		const {degree} = owner.tree.geometry;
		for (let leaf = vba; leaf < end; leaf++) {
			const index = leaf % degree;
			const generation = nodes.generation(path[1], index);
			// A leaf that was never written has no content under any key.
			if (generation === 0) {
				continue;
			}

			const block = {
				owner,
				vba: leaf,
				lowestVba: leaf,
				level: 0,
				address: nodes.address(path[1], index),
				generation,
				label: Uint8Array.from(nodes.hash(path[1], index)),
				isLost: false,
				isEmptied: this.#state.isEmptied(path[1], index),
			};
			const seen = this.#seen.find(block);
			if (seen) {
				this.#plan.shared.push({owner, vba: leaf, block: seen});
				this.#limit(seen, owner);
			} else {
				this.#seen.add(block);
				// One of the current tree that has no content stays: the place is its own, whatever a snapshot has
				// there.
				if (!block.isEmptied || owner.generation !== null) {
					this.#plan.leaves.push(block);
				}
				this.#limit(block, owner);
			}
		}
	}
}

function innerBlockAt(
	owner: RekeyedTree,
	path: Path,
	{vba, level, isLost}: {vba: Vba; level: Level; isLost: boolean},
): RekeyedBlock {
	const {tree} = owner;
	return {
		owner,
		vba,
		level,
		isLost,
		isEmptied: false,
		lowestVba: tree.geometry.lowestVba(vba, level),
		address: tree.addressAt(path, vba, level),
		generation: tree.generationAt(path, vba, level),
		label: Uint8Array.from(tree.labelAt(path, vba, level)),
	};
}
