/**
 * Places for data about to change (format section 4): a new block from the pool for every block on the way that does
 * not belong to the current generation, found, exchanged and put into the tree in one synchronous step.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Frame, Generation, KeyId, NodeIndex, Pba, Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import {Mutex} from '../lib/sync/mutex.js';
import type {Device} from './device.js';
import {PlaceStock} from './place-stock.js';
import type {Range} from './request-queue.js';

/** A leaf about to be written: its node, and where its data will lie. */
export interface Leaf {
	readonly frame: Frame;
	readonly index: NodeIndex;
	readonly vba: Vba;
	address: Pba;
	/** The pool entry that gave the address, -1 where the leaf is written in place. */
	poolLeaf: Vba;
}

/** What has to move before a batch can be written. */
interface Plan {
	/** For the free tree: leaves first, then inner blocks by level, as the format hands out places. */
	readonly items: number[];
	/** Positions in the batch, counted in blocks, of the leaves in `items`. */
	readonly leafPositions: number[];
	readonly inner: ReadonlyArray<{readonly vba: Vba; readonly level: number}>;
}

/** One leaf in each block of level 1 that the ranges touch. */
export function lowestLeaves(ranges: readonly Range[], {geometry: {degree}}: HashTree): Set<Vba> {
	const leaves = new Set<Vba>();
	for (const {vba, count} of ranges) {
		for (let leaf = vba - (vba % degree); leaf < vba + count; leaf += degree) {
			leaves.add(leaf);
		}
	}

	return leaves;
}

/** A place and the generation of its content, 0 where it has none. */
export interface LeafPlace {
	readonly address: Pba;
	readonly generation: Generation;
}

/** Places that leaves have in the books, where the leaf's node does not say it; see `revertTo`. */
export type LeafPlaces = ReadonlyMap<Vba, LeafPlace>;

const asTheNodesSay: LeafPlaces = new Map();

export interface AllocationOptions {
	readonly places?: LeafPlaces | undefined;
	/** The leaves stay where they are: only the blocks above them change. */
	readonly keepsLeaves?: boolean;
	/** What is set aside in the pool may be used, since this does not fill the device any further. */
	readonly relief?: boolean;
}

export class Placement {
	readonly stock: PlaceStock;
	readonly #device: Device;
	/** Plans and exchanges happen one after another. */
	readonly #mutex = new Mutex('placement');

	constructor(device: Device) {
		this.#device = device;
		this.stock = new PlaceStock(device);
	}

	/** Finds a place for every leaf of the ranges and makes every block on the way volatile. @throws SessionError */
	async allocate(ranges: readonly Range[], keyId: KeyId, options: AllocationOptions = {}): Promise<Leaf[]> {
		return this.#mutex.run(async () => this.#allocate(ranges, keyId, options));
	}

	/** Runs `job` with no other allocation under way. */
	async inTurn<T>(job: () => Promise<T>): Promise<T> {
		return this.#mutex.run(job);
	}

	/** Gives the current tree a root block of the current generation. Only inside `inTurn`. @throws SessionError */
	async moveRoot(keyId: KeyId): Promise<void> {
		const {held, servers, tree, currentGeneration} = this.#device;
		const {maxLevel} = tree.geometry;
		const {address, generation} = tree.root.root;
		const exchanged = await servers.free_tree.exchange({items: [address, generation, 0], keyId, reserved: true});
		const path: Path = [];
		try {
			// The root block alone: what is damaged below it must not keep a snapshot from being discarded.
			while (!tree.walkDown(0, maxLevel, path)) {
				const wanted = tree.walk(0, []);
				await held.load(wanted ? [wanted] : []);
			}
		} catch (error) {
			await servers.free_tree.restore(exchanged);
			throw error;
		}

		tree.moveBlock(path, 0, maxLevel, {address: exchanged.addresses[0], generation: currentGeneration});
		held.markDirty(path[maxLevel], maxLevel, tree.mark);
	}

	/** After a failed transfer the leaves keep their old data, so the pool gets the new places back. */
	async giveBack(leaves: readonly Leaf[]): Promise<void> {
		const exchanged = leaves.filter(({poolLeaf}) => poolLeaf >= 0);
		if (exchanged.length > 0) {
			await this.stock.undo({
				leaves: exchanged.map(({poolLeaf}) => poolLeaf),
				addresses: exchanged.map(({address}) => address),
			});
		}
	}

	async #allocate(
		ranges: readonly Range[],
		keyId: KeyId,
		{places = asTheNodesSay, keepsLeaves = false, relief = false}: AllocationOptions,
	): Promise<Leaf[]> {
		const {held, tree} = this.#device;
		if (held.isPressed) {
			throw new SessionError('no_space', 'too many inner blocks are changed: the state has to be secured first');
		}

		const lowest = lowestLeaves(ranges, tree);
		const plan = await this.#planHeld(keepsLeaves ? [] : ranges, lowest, places);
		const exchanged =
			plan.items.length > 0
				? (this.stock.take(plan.items, keyId) ?? (await this.stock.exchange(plan.items, keyId, {relief})))
				: {addresses: [], leaves: []};
		try {
			// Reads may have evicted blocks meanwhile. Between this check and the plan's application nothing runs.
			while (!this.#isHeld(lowest)) {
				await tree.load(lowest);
			}
		} catch (error) {
			await this.stock.undo(exchanged);
			throw error;
		}

		return this.#applyPlan(ranges, {plan, places}, exchanged);
	}

	async #planHeld(ranges: readonly Range[], lowest: ReadonlySet<Vba>, places: LeafPlaces): Promise<Plan> {
		for (;;) {
			const plan = this.#plan(ranges, lowest, places);
			if (plan) {
				return plan;
			}

			await this.#device.tree.load(lowest);
		}
	}

	#isHeld(lowest: ReadonlySet<Vba>): boolean {
		const path: Path = [];
		for (const leaf of lowest) {
			if (this.#device.tree.walk(leaf, path)) {
				return false;
			}
		}

		return true;
	}

	/** What a batch needs from the free tree; undefined where a block on the way is not held. Changes nothing. */
	#plan(ranges: readonly Range[], lowest: ReadonlySet<Vba>, places: LeafPlaces): Plan | undefined {
		const {
			tree,
			currentGeneration,
			changes,
			held: {nodes},
		} = this.#device;
		const {geometry} = tree;
		const items: number[] = [];
		const leafPositions: number[] = [];
		const path: Path = [];
		let position = 0;
		for (const {vba, count} of ranges) {
			let walked = -1;
			for (let leaf = vba; leaf < vba + count; leaf++, position++) {
				const first = leaf - (leaf % geometry.degree);
				if (first !== walked) {
					if (tree.walk(leaf, path)) {
						return undefined;
					}

					walked = first;
				}

				// A leaf of generation 0 was never written: no state refers to the content of its place.
				const place = places.get(leaf);
				const generation = place ? place.generation : nodes.generation(path[1], leaf - first);
				if (generation === currentGeneration ? changes.mustMove(leaf) : generation !== 0) {
					items.push(place ? place.address : nodes.address(path[1], leaf - first), generation, leaf);
					leafPositions.push(position);
				}
			}
		}

		const inner = this.#planInner(lowest, items);
		return inner && {items, leafPositions, inner};
	}

	#planInner(lowest: ReadonlySet<Vba>, items: number[]): Array<{vba: Vba; level: number}> | undefined {
		const {tree, currentGeneration} = this.#device;
		const inner: Array<{vba: Vba; level: number}> = [];
		const path: Path = [];
		for (let level = 1; level <= tree.geometry.maxLevel; level++) {
			/** The lowest leaves of those of this level. */
			const planned = new Set<Vba>();
			for (const vba of lowest) {
				if (tree.walk(vba, path)) {
					return undefined;
				}

				const generation = tree.generationAt(path, vba, level);
				const lowestVba = tree.geometry.lowestVba(vba, level);
				if (generation !== currentGeneration && !planned.has(lowestVba)) {
					planned.add(lowestVba);
					inner.push({vba, level});
					items.push(tree.addressAt(path, vba, level), generation, this.#device.poolVba(vba, level));
				}
			}
		}

		return inner;
	}

	/** Moves the inner blocks and gives each leaf its place. Synchronous: no other batch sees a half-done plan. */
	#applyPlan(
		ranges: readonly Range[],
		{plan, places}: {plan: Plan; places: LeafPlaces},
		{addresses, leaves: poolLeaves}: {addresses: Pba[]; leaves: Vba[]},
	): Leaf[] {
		const {
			tree,
			currentGeneration,
			held: {nodes},
		} = this.#device;
		const path: Path = [];
		for (const [i, {vba, level}] of plan.inner.entries()) {
			tree.walk(vba, path);
			tree.moveBlock(path, vba, level, {
				address: addresses[plan.leafPositions.length + i],
				generation: currentGeneration,
			});
		}

		const leaves: Leaf[] = [];
		for (const {vba, count} of ranges) {
			let walked = -1;
			for (let leaf = vba; leaf < vba + count; leaf++) {
				const index = leaf % tree.geometry.degree;
				if (leaf - index !== walked) {
					tree.walk(leaf, path);
					tree.markDirty(path, leaf);
					walked = leaf - index;
				}

				leaves.push({
					frame: path[1],
					index,
					vba: leaf,
					address: places.get(leaf)?.address ?? nodes.address(path[1], index),
					poolLeaf: -1,
				});
			}
		}

		for (const [i, position] of plan.leafPositions.entries()) {
			leaves[position].address = addresses[i];
			leaves[position].poolLeaf = poolLeaves[i];
		}

		return leaves;
	}
}
