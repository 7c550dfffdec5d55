/**
 * Rekeying (format section 7), a range of leaves at a time: everything that the current tree and the kept snapshots
 * hold there is opened with the previous key, sealed with the current one and written to new places. Until the state is
 * secured the old places stay untouched, so a crash falls back to the rekeying VBA that was secured.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Level, Pba, Vba} from '../container/addresses.js';
import {extentsOf} from '../container/extents.js';
import {blockSize} from '../container/geometry.js';
import type {HashTree, Path} from '../container/hash-tree.js';
import {labelLength} from '../container/label.js';
import type {Device, KeptSnapshot} from './device.js';
import type {Placement} from './placement.js';
import {RekeyPlanner, type InnerMove, type LeafMove, type RekeyedTree, type RekeyPlan} from './rekey-plan.js';
import type {Range} from './request-queue.js';
import type {UnsettledBlock} from './unsettled-blocks.js';

/** Blocks that are opened and sealed at once: 1 MiB. */
const transferBlockCount = 256;

/** Held blocks for each lowest block of each tree under way: a level each, with room to spare. */
const framesPerWay = 16;

/** New places, and the pool entries behind them, for the moves of a plan. */
interface Places {
	readonly inner: ReadonlyMap<InnerMove, Pba>;
	readonly leaves: ReadonlyMap<LeafMove, {readonly address: Pba; readonly poolLeaf: Vba}>;
}

/** The trees are ahead of what was replied: the component has to start over from the last secured state. */
export class RekeyingInterrupted extends Error {
	override readonly name = 'RekeyingInterrupted';
}

export class Rekeying {
	readonly #device: Device;
	readonly #placement: Placement;

	constructor(device: Device, placement: Placement) {
		this.#device = device;
		this.#placement = placement;
	}

	/**
	 * Does one step, with no write under way; replies with the number of blocks sealed. The moved blocks are stored at
	 * once: a later write moves the current tree's block on, and a snapshot that shares it finds it on the medium.
	 * @throws SessionError, and nothing was rekeyed
	 */
	async step(snapshots: readonly KeptSnapshot[], blockCount: number): Promise<number> {
		const range = this.#nextRange(snapshots, blockCount);
		if (range.count === 0) {
			return 0;
		}

		const {plan, places} = await this.#placement.inTurn(async () => this.#place(snapshots, range));
		let sealed: Map<LeafMove, Uint8Array> | undefined;
		try {
			sealed = await this.#transfer(plan.leaves, places);
			return sealed.size;
		} finally {
			await this.#complete({plan, places, sealed, range});
		}
	}

	/** Carries the step over into the trees; where nothing was `sealed` their leaves stay as they are. */
	async #complete({plan, places, sealed, range}: {plan: RekeyPlan; places: Places; sealed: Map<LeafMove, Uint8Array> | undefined; range: Range}): Promise<void> {
		try {
			await this.#giveBack(plan.leaves.filter(move => !sealed?.has(move)), places);
			if (sealed) {
				// Leaves and keys change in one synchronous step: a read in between would take the wrong key.
				this.#setLeaves(plan, places, sealed);
				this.#device.setKeys({...this.#device.keys, rekeyingVba: range.vba + range.count});
			}

			await this.#device.storeTreesFirst();
		} catch (error) {
			throw new RekeyingInterrupted(`a rekeying step stopped half-way: ${error instanceof Error ? error.message : String(error)}`);
		}
	}

	/** The range that the next step takes: lowest blocks as a whole where it may be that many, as far as any tree reaches. */
	#nextRange(snapshots: readonly KeptSnapshot[], blockCount: number): Range {
		const {keys: {rekeyingVba: vba}, tree: {geometry: {degree, leafCount}}, held: {frameCount}} = this.#device;
		const end = Math.max(leafCount, ...snapshots.map(snapshot => snapshot.tree.leafCount));
		// The ways of all trees have to be held together.
		const lowestBlockCount = Math.max(1, Math.min(Math.floor(blockCount / degree), Math.floor(frameCount / (framesPerWay * (snapshots.length + 1)))));
		// Where the pool is nearly empty less than one lowest block has to do.
		const aligned = vba - (vba % degree) + (lowestBlockCount * degree);
		const stop = Math.min(end, blockCount < degree ? vba + blockCount : aligned);
		return {vba, count: Math.max(0, stop - vba)};
	}

	/** Finds new places and moves the inner blocks of all trees; the leaves follow when their data is there. */
	async #place(snapshots: readonly KeptSnapshot[], range: Range): Promise<{plan: RekeyPlan; places: Places}> {
		if (this.#device.held.isPressed) {
			throw new SessionError('no_space', 'too many inner blocks are changed: the state has to be secured first');
		}

		await this.#separateRoot(snapshots);
		const taken = this.#device.takeUpSnapshots(snapshots);
		const trees: RekeyedTree[] = [
			{tree: this.#device.tree, generation: null},
			...[...taken].sort(([a], [b]) => b - a).map(([generation, tree]) => ({tree, generation})),
		];
		const plan = await this.#planHeld(trees, range);
		const {places, undo} = await this.#findPlaces(plan, range);
		try {
			while (!isHeld(trees, range)) {
				await loadWays(trees, range);
			}
		} catch (error) {
			await undo();
			throw error;
		}

		this.#moveInner(plan, places);
		return {plan, places};
	}

	/** The current tree gets a root block of its own where a snapshot has the same: their records age differently. */
	async #separateRoot(snapshots: readonly KeptSnapshot[]): Promise<void> {
		const {tree} = this.#device;
		if (snapshots.some(snapshot => snapshot.tree.root.address === tree.root.root.address)) {
			await this.#placement.moveRoot(this.#device.keyOf(0));
		}
	}

	async #planHeld(trees: readonly RekeyedTree[], range: Range): Promise<RekeyPlan> {
		const {held, currentGeneration, placedByRekeying} = this.#device;
		const state = {
			held,
			// A block of an older snapshot moves with every step: its pool entry says how far the rekeying may go before
			// the block is given up, and that is as far as the step that placed it.
			isVolatile: ({generation: snapshot}: RekeyedTree, address: Pba, generation: number) =>
				snapshot === null && (generation === currentGeneration || placedByRekeying.has(address)),
		};
		for (;;) {
			const plan = RekeyPlanner.plan(state, trees, range);
			if (plan) {
				return plan;
			}

			await loadWays(trees, range);
		}
	}

	/** Asks the free tree for places: exchanged for blocks of the current tree, reserved for those of older snapshots. */
	async #findPlaces({inner, leaves}: RekeyPlan, range: Range): Promise<{places: Places; undo: () => Promise<void>}> {
		const {servers, keys} = this.#device;
		const moves = [...leaves, ...inner];
		const current = moves.filter(({owner}) => owner.generation === null);
		const older = moves.filter(({owner}) => owner.generation !== null);
		const exchangeItems = current.flatMap(move => [move.from, move.generation, this.#lowestVba(move)]);
		const exchanged = current.length > 0
			? await servers.free_tree.exchange({items: exchangeItems, keyId: keys.previousKeyId, reserved: false})
			: {addresses: [], leaves: []};
		const undoExchange = async () => void await servers.free_tree.restore(exchanged);
		let reserved: typeof exchanged;
		try {
			reserved = older.length > 0
				? await servers.free_tree.reserve({items: older.flatMap(move => this.#reservation(move, range))})
				: {addresses: [], leaves: []};
		} catch (error) {
			await undoExchange();
			throw error;
		}

		const placed = new Map([
			...current.map((move, i) => [move, {address: exchanged.addresses[i], poolLeaf: exchanged.leaves[i]}] as const),
			...older.map((move, i) => [move, {address: reserved.addresses[i], poolLeaf: reserved.leaves[i]}] as const),
		]);
		const placeOf = (move: InnerMove | LeafMove) => {
			const place = placed.get(move);
			if (!place) {
				throw new Error('a move of a rekeying has no place');
			}

			return place;
		};
		return {
			places: {
				inner: new Map(inner.map(move => [move, placeOf(move).address])),
				leaves: new Map(leaves.map(move => [move, placeOf(move)])),
			},
			async undo() {
				await undoExchange();
				await servers.free_tree.restore(reserved);
			},
		};
	}

	#lowestVba(move: InnerMove | LeafMove): Vba {
		return 'level' in move ? move.owner.tree.geometry.lowestVba(move.vba, move.level) : move.vba;
	}

	/** A pool entry for a block of an older snapshot, as the table in format section 5 says. */
	#reservation(move: InnerMove | LeafMove, range: Range): number[] {
		const {previousKeyId, currentKeyId} = this.#device.keys;
		const level = 'level' in move ? move.level : 0;
		const lowest = this.#lowestVba(move);
		const end = range.vba + range.count;
		const {degree, leafCount} = move.owner.tree.geometry;
		// Behind the last leaf of a smaller snapshot no later step comes by and moves the block once more.
		const coversLater = Math.min(lowest + (degree ** level), leafCount) > end;
		const freeGeneration = (move.owner.generation ?? 0) + 1;
		return [move.generation, freeGeneration, coversLater ? end : lowest, coversLater ? previousKeyId : currentKeyId];
	}

	/** Synchronous: no other request sees trees that are moved in part. */
	#moveInner({inner, shared, ways}: RekeyPlan, places: Places): void {
		const movedTo = new Map<Pba, Pba>();
		const path: Path = [];
		for (const move of inner) {
			const {owner: {tree}, vba, level, from, generation} = move;
			const address = places.inner.get(move) ?? from;
			walkTo(tree, vba, level, path);
			tree.moveBlock(path, vba, level, {address, generation});
			movedTo.set(from, address);
			this.#device.placedByRekeying.add(address);
		}

		for (const {owner: {tree}, vba, level, from} of shared) {
			// What another step of this generation has moved already changes again, and its label with it.
			if (level > 0) {
				walkTo(tree, vba, level + 1, path);
				tree.share(path, vba, level, movedTo.get(from) ?? from);
			}
		}

		for (const {owner: {tree}, vba, lowest} of ways) {
			walkTo(tree, vba, lowest, path);
			tree.markDirty(path, vba, lowest);
		}
	}

	/** Opens, seals and writes the leaves; replies with the new label of each that was what its label says. */
	async #transfer(leaves: readonly LeafMove[], places: Places): Promise<Map<LeafMove, Uint8Array>> {
		const sealed = new Map<LeafMove, Uint8Array>();
		const overwritten: UnsettledBlock[] = [];
		try {
			for (let first = 0; first < leaves.length; first += transferBlockCount) {
				await this.#transferSome(leaves.slice(first, first + transferBlockCount), places, {sealed, overwritten});
			}
		} catch (error) {
			// Nothing of the step has happened: what stays in its place has to be again what it was.
			for (const block of overwritten) {
				this.#device.unsettled.keep(block);
			}

			throw error;
		}

		return sealed;
	}

	/** @param result `overwritten`: what lay in the places that are written in place */
	async #transferSome(leaves: readonly LeafMove[], places: Places, {sealed, overwritten}: {sealed: Map<LeafMove, Uint8Array>; overwritten: UnsettledBlock[]}): Promise<void> {
		const {env, servers: {block, crypto}, keys} = this.#device;
		const byteLength = leaves.length * blockSize;
		const lease = await env.leaseWhenFree(2 * byteLength);
		try {
			const content = lease.bytes.subarray(0, byteLength);
			const plain = lease.bytes.subarray(byteLength, 2 * byteLength);
			const from = leaves.map(move => move.from);
			const labels = new Uint8Array(leaves.length * labelLength);
			for (const [i, {label}] of leaves.entries()) {
				labels.set(label, i * labelLength);
			}

			const vbas = leaves.map(move => move.vba);
			// The nodes keep their generations, so the blocks stay bound to them.
			const generations = leaves.map(move => move.generation);
			await block.read({extents: extentsOf(from), data: content});
			const {mismatched} = await crypto.open({keyId: keys.previousKeyId, addresses: from, vbas, generations, labels, sealed: content, plain: [plain]});
			const damaged = new Set(mismatched);
			for (const [i, move] of leaves.entries()) {
				if (!places.leaves.has(move) && !damaged.has(i)) {
					overwritten.push({vba: move.vba, address: move.from, sealed: Uint8Array.from(content.subarray(i * blockSize, (i + 1) * blockSize))});
				}
			}

			const addresses = leaves.map(move => places.leaves.get(move)?.address ?? move.from);
			const {labels: newLabels} = await crypto.seal({keyId: keys.currentKeyId, addresses, vbas, generations, plain: [plain], sealed: content});
			plain.fill(0);
			await block.write({extents: extentsOf(addresses), data: content});
			for (const [i, move] of leaves.entries()) {
				if (damaged.has(i)) {
					env.log(`integrity error: the data block at PBA ${move.from} (level 0, VBA ${move.vba}) does not match the hash in its parent; it cannot be rekeyed and stays unreadable`, 'error');
				} else {
					sealed.set(move, newLabels.slice(i * labelLength, (i + 1) * labelLength));
				}
			}
		} finally {
			lease.release();
		}
	}

	/** Leaves that keep their old content give their new places back. */
	async #giveBack(leaves: readonly LeafMove[], places: Places): Promise<void> {
		const given = leaves.flatMap(move => places.leaves.get(move) ?? []);
		if (given.length > 0) {
			await this.#device.servers.free_tree.restore({leaves: given.map(({poolLeaf}) => poolLeaf), addresses: given.map(({address}) => address)});
		}
	}

	/** Synchronous: nodes of all trees change to the new key together with the rekeying VBA. */
	#setLeaves({shared}: RekeyPlan, places: Places, sealed: ReadonlyMap<LeafMove, Uint8Array>): void {
		const {held: {nodes}} = this.#device;
		const path: Path = [];
		const setLeaf = ({tree}: RekeyedTree, vba: Vba, address: Pba, label: Uint8Array) => {
			const index = vba % tree.geometry.degree;
			walkTo(tree, vba, 1, path);
			nodes.setPlace(path[1], index, address, nodes.generation(path[1], index));
			nodes.setHash(path[1], index, label, 0);
		};
		const byOldPlace = new Map<Pba, {address: Pba; label: Uint8Array}>();
		for (const [move, label] of sealed) {
			const address = places.leaves.get(move)?.address ?? move.from;
			setLeaf(move.owner, move.vba, address, label);
			byOldPlace.set(move.from, {address, label});
		}

		for (const {owner, vba, level, from} of shared) {
			const moved = level === 0 ? byOldPlace.get(from) : undefined;
			if (moved) {
				setLeaf(owner, vba, moved.address, moved.label);
			}
		}
	}
}

/** Walks down to `lowest`; every block on the way must be held. */
function walkTo(tree: HashTree, vba: Vba, lowest: Level, path: Path): void {
	if (!tree.walkDown(vba, lowest, path)) {
		throw new Error(`a block on the way to VBA ${vba} is not held while the trees are being changed`);
	}
}

/** One leaf of each lowest block of a tree in the range. */
function waysOf({tree: {geometry: {degree, leafCount}}}: RekeyedTree, {vba, count}: Range): Vba[] {
	const ways: Vba[] = [];
	for (let first = vba - (vba % degree); first < Math.min(vba + count, leafCount); first += degree) {
		ways.push(first);
	}

	return ways;
}

async function loadWays(trees: readonly RekeyedTree[], range: Range): Promise<void> {
	for (const owner of trees) {
		await owner.tree.load(waysOf(owner, range));
	}
}

function isHeld(trees: readonly RekeyedTree[], range: Range): boolean {
	const path: Path = [];
	return trees.every(owner => waysOf(owner, range).every(vba => owner.tree.walk(vba, path) === undefined));
}
