/**
 * Writing (format section 4): one exchange with the free tree, one call to the crypto server and one write of the
 * medium for all the pieces of a batch together. Labels of inner blocks are computed when the tree is stored.
 *
 * What a secured state refers to is never overwritten: only a block of the current generation is written in place.
 */
import type {Frame, KeyId, NodeIndex, Pba, Vba} from '../container/addresses.js';
import {extentsOf} from '../container/extents.js';
import {blockSize} from '../container/geometry.js';
import type {Path} from '../container/hash-tree.js';
import {labelLength} from '../container/label.js';
import {Turn} from '../container/turn.js';
import {SessionError} from '../../runtime/sdk/session.js';
import type {Device} from './device.js';
import {Gate} from './gate.js';
import {lowestLeaves} from './reader.js';
import type {Outcomes, Piece} from './request-queue.js';

/** A leaf about to be written: its node, and where its data will lie. */
interface Leaf {
	readonly frame: Frame;
	readonly index: NodeIndex;
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

export class Writer {
	readonly #device: Device;
	readonly #gate = new Gate();
	/** Plans and exchanges happen one after another; sealing and writing of batches overlap. */
	readonly #allocation = new Turn();

	constructor(device: Device) {
		this.#device = device;
	}

	async write(batch: readonly Piece[]): Promise<Outcomes> {
		const byKey = new Map<KeyId, number[]>();
		for (const [index, {vba}] of batch.entries()) {
			const keyId = this.#device.keyOf(vba);
			byKey.set(keyId, [...byKey.get(keyId) ?? [], index]);
		}

		const outcomes: unknown[] = batch.map(() => undefined);
		for (const [keyId, indexes] of byKey) {
			await this.#writeSeparable(indexes, batch, keyId, outcomes);
		}

		return outcomes;
	}

	/** Stores the tree and the pool as one state, with no write under way. */
	async store(nextGeneration: number) {
		return this.#gate.exclusively(async () => {
			const {held, tree, servers} = this.#device;
			const [pool, storedBlockCount] = await Promise.all([
				servers.free_tree.store({}),
				held.store((_mark, hash) => {
					tree.setRootHash(hash);
				}),
			]);
			await servers.free_tree.begin({currentGeneration: nextGeneration});
			this.#device.currentGeneration = nextGeneration;
			return {...pool, tree: tree.root, storedBlockCount: storedBlockCount + pool.storedBlockCount};
		});
	}

	/** Writes pieces together; where that fails, each alone, so that none suffers from another. */
	async #writeSeparable(indexes: readonly number[], batch: readonly Piece[], keyId: KeyId, outcomes: unknown[]): Promise<void> {
		try {
			await this.#writeTogether(indexes.map(index => batch[index]), keyId);
		} catch (error) {
			if (indexes.length === 1) {
				outcomes[indexes[0]] = error;
				return;
			}

			for (const index of indexes) {
				await this.#writeSeparable([index], batch, keyId, outcomes);
			}
		}
	}

	async #writeTogether(pieces: readonly Piece[], keyId: KeyId): Promise<void> {
		await this.#gate.enter();
		try {
			const leaves = await this.#allocation.take(async () => this.#allocate(pieces, keyId));
			try {
				const labels = await this.#transfer(pieces, leaves, keyId);
				this.#setLeaves(leaves, labels);
			} catch (error) {
				await this.#giveBack(leaves);
				throw error;
			}
		} finally {
			this.#gate.leave();
		}
	}

	/** Finds a place for every block of the pieces and makes every block on the way volatile. */
	async #allocate(pieces: readonly Piece[], keyId: KeyId): Promise<Leaf[]> {
		const {held, servers, tree} = this.#device;
		if (held.isPressed) {
			throw new SessionError('no_space', 'too many inner blocks are changed: the state has to be secured first');
		}

		const lowest = lowestLeaves(pieces, tree);
		const plan = await this.#planHeld(pieces, lowest);
		const exchanged = plan.items.length > 0
			? await servers.free_tree.exchange({items: plan.items, keyId})
			: {addresses: [], leaves: []};
		try {
			// Reads may have evicted blocks meanwhile. Between this check and the plan's application nothing runs.
			while (!this.#isHeld(lowest)) {
				await tree.load(lowest);
			}
		} catch (error) {
			await servers.free_tree.restore({leaves: exchanged.leaves, addresses: exchanged.addresses});
			throw error;
		}

		return this.#applyPlan(pieces, plan, exchanged);
	}

	async #planHeld(pieces: readonly Piece[], lowest: ReadonlySet<Vba>): Promise<Plan> {
		for (;;) {
			const plan = this.#plan(pieces, lowest);
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
	#plan(pieces: readonly Piece[], lowest: ReadonlySet<Vba>): Plan | undefined {
		const {tree, currentGeneration, held: {nodes}} = this.#device;
		const {geometry} = tree;
		const items: number[] = [];
		const leafPositions: number[] = [];
		const path: Path = [];
		let position = 0;
		for (const {vba, count} of pieces) {
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
				const generation = nodes.generation(path[1], leaf - first);
				if (generation !== currentGeneration && generation !== 0) {
					items.push(nodes.address(path[1], leaf - first), generation, leaf);
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
		const planned = new Set<Pba>();
		const path: Path = [];
		for (let level = 1; level <= tree.geometry.maxLevel; level++) {
			for (const vba of lowest) {
				if (tree.walk(vba, path)) {
					return undefined;
				}

				const generation = tree.generationAt(path, vba, level);
				const address = tree.addressAt(path, vba, level);
				if (generation !== currentGeneration && !planned.has(address)) {
					planned.add(address);
					inner.push({vba, level});
					items.push(address, generation, tree.geometry.lowestVba(vba, level));
				}
			}
		}

		return inner;
	}

	/** Moves the inner blocks and gives each leaf its place. Synchronous: no other batch sees a half-done plan. */
	#applyPlan(pieces: readonly Piece[], plan: Plan, {addresses, leaves: poolLeaves}: {addresses: Pba[]; leaves: Vba[]}): Leaf[] {
		const {tree, currentGeneration, held: {nodes}} = this.#device;
		const path: Path = [];
		for (const [i, {vba, level}] of plan.inner.entries()) {
			tree.walk(vba, path);
			tree.moveBlock(path, vba, level, {address: addresses[plan.leafPositions.length + i], generation: currentGeneration});
		}

		const leaves: Leaf[] = [];
		for (const {vba, count} of pieces) {
			let walked = -1;
			for (let leaf = vba; leaf < vba + count; leaf++) {
				const index = leaf % tree.geometry.degree;
				if (leaf - index !== walked) {
					tree.walk(leaf, path);
					tree.markDirty(path, leaf);
					walked = leaf - index;
				}

				leaves.push({frame: path[1], index, address: nodes.address(path[1], index), poolLeaf: -1});
			}
		}

		for (const [i, position] of plan.leafPositions.entries()) {
			leaves[position].address = addresses[i];
			leaves[position].poolLeaf = poolLeaves[i];
		}

		return leaves;
	}

	/** Seals the data and writes it to its places. */
	async #transfer(pieces: readonly Piece[], leaves: readonly Leaf[], keyId: KeyId): Promise<Uint8Array> {
		const {env, servers} = this.#device;
		const lease = await env.leaseWhenFree(leaves.length * blockSize);
		try {
			const addresses = leaves.map(({address}) => address);
			const {labels} = await servers.crypto.seal({keyId, addresses, plain: pieces.map(({data}) => data), sealed: lease.bytes});
			await servers.block.write({extents: extentsOf(addresses), data: lease.bytes});
			return labels;
		} finally {
			lease.release();
		}
	}

	#setLeaves(leaves: readonly Leaf[], labels: Uint8Array): void {
		const {currentGeneration, held: {nodes}} = this.#device;
		for (const [i, {frame, index, address}] of leaves.entries()) {
			nodes.setPlace(frame, index, address, currentGeneration);
			nodes.setHash(frame, index, labels, i * labelLength);
		}
	}

	/** After a failed transfer the leaves keep their old data, so the pool gets the new places back. */
	async #giveBack(leaves: readonly Leaf[]): Promise<void> {
		const exchanged = leaves.filter(({poolLeaf}) => poolLeaf >= 0);
		if (exchanged.length > 0) {
			await this.#device.servers.free_tree.restore({
				leaves: exchanged.map(({poolLeaf}) => poolLeaf),
				addresses: exchanged.map(({address}) => address),
			});
		}
	}
}

