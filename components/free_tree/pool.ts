/**
 * The pool of blocks for copy-on-write: the free tree with the meta tree inside (format section 5).
 *
 * An exchange is planned first, with everything it needs loaded, and then applied in one synchronous step, so it
 * happens whole or not at all. Callers run one operation at a time.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Frame, Generation, KeyId, Level, NodeIndex, Pba, Vba} from '../sessions/vocabulary.js';
import {HashTree, type Path} from '../lib/tree/hash-tree.js';
import type {HeldBlocks} from '../lib/tree/held-blocks.js';
import type {PoolEntry} from '../lib/format/node-blocks.js';
import {nextToGrow} from '../lib/format/pool-growth.js';
import {SeenBlocks} from '../lib/tree/seen-blocks.js';
import {BumpAllocator, addLeaves, addLevelIfFull, branchToMove, moveBranch} from '../lib/tree/tree-growth.js';
import {lowestBlocksFrom, verifyPart, type Verified} from '../lib/tree/tree-verification.js';
import {bookItemLength, exchangeItemLength, reserveItemLength, swapItemLength} from '../sessions/free-tree.js';
import type {TreeRoot} from '../sessions/tree-root.js';
import {setFreeEntry} from './free-entry.js';
import {isReplacedBy, type Horizon, type Rekeying} from './horizon.js';
import {LeafFinder, type PoolSlots} from './leaf-finder.js';
import {MetaTree} from './meta-plan.js';
import {soleHoldings, type SoleHoldings} from './sole-holders.js';
import {UsageCount, type Usage} from './usage-count.js';

export interface Extension {
	readonly firstPba: Pba;
	readonly pbaCount: number;
	/** Each step fills one lowest block. */
	readonly stepCount: number;
}

const freeTreeMark = -1;
const metaTreeMark = -2;

/** An inner block of the free tree that has to move before its entries change. */
interface InnerBlock {
	readonly leaf: Vba;
	readonly level: Level;
	readonly address: Pba;
}

export interface Exchanged {
	/** New places, in the order of the items. */
	readonly addresses: Pba[];
	/** The pool entry behind each. */
	readonly leaves: Vba[];
}

/** What an entry holds after its block was handed out: by position in the request, with the block's address. */
type EntryOf = (position: number, address: Pba) => PoolEntry;

/** Lowest blocks that one verification looks at. */
const verifiedBlockCount = 64;

/** Blocks that are counted beyond those that are needed, so that the next exchanges need no count. */
const countedAhead = 4096;

/** Blocks are handed out ahead as long as the pool has so many times as many beyond what is set aside. */
const ampleFactor = 8;

/** Lowest blocks that one sweep may change, and look at: nothing is secured meanwhile. */
const sweptBlockCount = 128;
const searchedBlockCount = 2048;

export class Pool {
	readonly #held: HeldBlocks;
	readonly #free: HashTree;
	readonly #meta: MetaTree;
	#finder: LeafFinder;
	#usage: UsageCount;
	/** So many blocks at least can be handed out now. */
	#knownSpareCount = 0;
	readonly #horizon: Horizon;

	constructor(
		held: HeldBlocks,
		{freeTree, metaTree, horizon}: {freeTree: TreeRoot; metaTree: TreeRoot; horizon: Horizon},
	) {
		this.#held = held;
		this.#free = new HashTree(held, freeTree, freeTreeMark);
		this.#meta = new MetaTree(new HashTree(held, metaTree, metaTreeMark), held.nodes);
		this.#finder = new LeafFinder(this.#free, held.nodes);
		this.#usage = new UsageCount(this.#free, held.nodes);
		this.#horizon = horizon;
	}

	get horizon(): Horizon {
		return this.#horizon;
	}

	/**
	 * Takes replaced blocks in and hands out as many; with `relief` also those that are set aside.
	 * @throws SessionError `no_space` and nothing is changed
	 */
	async exchange(
		items: readonly number[],
		{keyId, reserved, relief}: {keyId: KeyId; reserved: boolean; relief?: true | undefined},
	): Promise<Exchanged> {
		if (!relief) {
			await this.#requireBeyondSetAside(items.length / exchangeItemLength);
		}

		return this.#handOut(items.length / exchangeItemLength, position => {
			const item = position * exchangeItemLength;
			return {
				address: items[item],
				allocGeneration: items[item + 1],
				lastVba: items[item + 2],
				freeGeneration: this.#horizon.currentGeneration,
				lastKeyId: keyId,
				reserved,
			};
		});
	}

	/**
	 * Hands out up to `count` blocks ahead of their use. Their entries say that they were freed in the current
	 * generation: stored like that they are spare once it is secured, so nothing is lost where nobody comes back to
	 * them.
	 */
	async takeAhead(count: number): Promise<Exchanged> {
		const {setAsideCount, currentGeneration} = this.#horizon;
		const ample = setAsideCount + count * ampleFactor;
		if (this.#knownSpareCount < ample) {
			this.#knownSpareCount = await this.#usage.allocatableCount(ample + countedAhead, this.#horizon);
		}

		const granted = Math.min(count, Math.floor((this.#knownSpareCount - setAsideCount) / ampleFactor));
		if (granted <= 0 || this.#held.isPressed) {
			return {addresses: [], leaves: []};
		}

		try {
			return await this.#handOut(granted, (_position, address) => ({
				address,
				lastVba: 0,
				allocGeneration: currentGeneration,
				freeGeneration: currentGeneration,
				lastKeyId: 0,
				reserved: false,
			}));
		} catch (error) {
			// Who asks ahead can do without.
			if (error instanceof SessionError && error.code === 'no_space') {
				return {addresses: [], leaves: []};
			}

			throw error;
		}
	}

	/** Takes in what blocks that were taken ahead have replaced. @throws SessionError, and nothing is changed */
	async book(items: readonly number[], leaves: readonly Vba[]): Promise<void> {
		const {currentGeneration} = this.#horizon;
		const booked = new Map<Pba, PoolEntry>();
		for (let i = 0; i < items.length; i += bookItemLength) {
			booked.set(items[i], {
				address: items[i + 1],
				allocGeneration: items[i + 2],
				lastVba: items[i + 3],
				freeGeneration: currentGeneration,
				lastKeyId: items[i + 4],
				reserved: true,
			});
		}

		// An entry of an older generation was not taken ahead in this life of the pool.
		const slots = await this.#entriesAt(
			leaves,
			booked,
			(frame, index) => this.#held.nodes.poolFreeGeneration(frame, index) === currentGeneration,
		);
		await this.#makeVolatile(slots);
		this.#setEntries(slots, entry => booked.get(entry.address) ?? entry);
	}

	/** Hands out blocks that stay listed for older snapshots. @throws SessionError `no_space` and nothing is changed */
	async reserve(items: readonly number[]): Promise<Exchanged> {
		return this.#handOut(items.length / reserveItemLength, (position, address) => {
			const item = position * reserveItemLength;
			return {
				address,
				allocGeneration: items[item],
				freeGeneration: items[item + 1],
				lastVba: items[item + 2],
				lastKeyId: items[item + 3],
				reserved: true,
			};
		});
	}

	/** Hands out `count` blocks; `entryOf` says what their entries hold afterwards. */
	async #handOut(count: number, entryOf: EntryOf): Promise<Exchanged> {
		this.#requireRoomForChanges();
		const slots = await this.#finder.find(count, this.#horizon);
		if (slots.reduce((sum, {indexes}) => sum + indexes.length, 0) < count) {
			this.#giveBack(slots);
			throw new SessionError('no_space', `the pool has fewer than ${count} blocks to hand out`);
		}

		try {
			await this.#makeVolatile(slots);
		} catch (error) {
			this.#giveBack(slots);
			throw error;
		}

		this.#knownSpareCount -= count;
		return this.#exchangeEntries(slots, entryOf);
	}

	/** What is set aside stays, so that a device that is full can still be trimmed. */
	async #requireBeyondSetAside(count: number): Promise<void> {
		const needed = this.#horizon.setAsideCount + count;
		if (this.#knownSpareCount < needed) {
			this.#knownSpareCount = await this.#usage.allocatableCount(needed + countedAhead, this.#horizon);
		}

		if (this.#knownSpareCount < needed) {
			throw new SessionError(
				'no_space',
				`the pool has ${this.#knownSpareCount} blocks to hand out, ${this.#horizon.setAsideCount} of them set aside for trims and the like; ${count} are needed`,
			);
		}
	}

	/** Frees entries that only held content under a key that is being given up, from `firstLeaf` on, as many as fit. */
	async sweep(firstLeaf: Vba, rekeyed: Rekeying): Promise<Vba | null> {
		this.#requireRoomForChanges();
		const {degree, leafCount} = this.#free.geometry;
		const slots: PoolSlots[] = [];
		const end = Math.min(leafCount, firstLeaf + searchedBlockCount * degree);
		let leaf = firstLeaf;
		for (; leaf < end && slots.length < sweptBlockCount; leaf += degree) {
			const indexes = await this.#indexesIn(
				leaf,
				(frame, index) =>
					this.#held.nodes.isPoolEntryReserved(frame, index) &&
					isReplacedBy(rekeyed, this.#held.nodes.poolEntry(frame, index)),
			);
			if (indexes.length > 0) {
				slots.push({firstLeaf: leaf, indexes});
			}
		}

		await this.#makeVolatile(slots);
		this.#setEntries(slots, entry => ({...entry, reserved: false}));
		return leaf < leafCount ? leaf : null;
	}

	/**
	 * Gives unused new blocks back to their entries, which must have been exchanged in the current generation.
	 * @param isNext they are the next to be handed out
	 */
	async restore(leaves: readonly Vba[], addresses: readonly Pba[], isNext = false): Promise<void> {
		for (const [i, leaf] of leaves.entries()) {
			const path: Path = [];
			await this.#free.load([leaf]);
			this.#free.walk(leaf, path);
			this.#held.nodes.setPoolEntry(path[1], this.#free.geometry.childIndex(leaf, 1), {
				address: addresses[i],
				lastVba: 0,
				allocGeneration: 0,
				freeGeneration: 0,
				lastKeyId: 0,
				reserved: false,
			});
			this.#finder.forget(leaf);
			this.#usage.forget(leaf);
		}

		if (isNext && leaves.length > 0) {
			this.#finder.goBackTo(leaves[0]);
		}
	}

	/**
	 * Takes the named blocks out of the pool and puts others into their entries. @throws SessionError, nothing changed
	 */
	async swap(items: readonly number[], leaves: readonly Vba[], keyId: KeyId): Promise<void> {
		const replacements = new Map<Pba, {address: Pba; allocGeneration: Generation; lastVba: Vba}>();
		for (let i = 0; i < items.length; i += swapItemLength) {
			replacements.set(items[i], {address: items[i + 1], allocGeneration: items[i + 2], lastVba: items[i + 3]});
		}

		const slots =
			leaves.length > 0 ? await this.#entriesAt(leaves, replacements) : await this.#findEntries(replacements);
		this.#requireRoomFor(slots);
		await this.#makeVolatile(slots);
		this.#knownSpareCount -= replacements.size;
		this.#setEntries(slots, entry => {
			const replacement = replacements.get(entry.address);
			return replacement
				? {...replacement, freeGeneration: this.#horizon.currentGeneration, lastKeyId: keyId, reserved: true}
				: entry;
		});
	}

	/**
	 * Does up to `stepCount` growth steps of the pool. @throws SessionError `no_space` where not even one can be done
	 * now
	 */
	async extend({firstPba, pbaCount, stepCount}: Extension): Promise<{usedPbaCount: number; addedLeafCount: number}> {
		const allocator = new BumpAllocator(firstPba, pbaCount);
		let addedLeafCount = 0;
		for (let step = 0; step < stepCount; step++) {
			const which = this.#held.isPressed || allocator.remaining === 0 ? undefined : this.#nextToGrow();
			if (which === undefined) {
				break;
			}

			const added = await (which === 'free'
				? this.#growFree(allocator)
				: this.#meta.grow(allocator, this.#horizon));
			if (added === undefined) {
				break;
			}

			addedLeafCount += added;
		}

		// Both know the number of leaves.
		this.#finder = new LeafFinder(this.#free, this.#held.nodes);
		this.#usage = new UsageCount(this.#free, this.#held.nodes);
		if (allocator.usedCount === 0 && allocator.remaining > 0 && this.#nextToGrow() !== undefined) {
			throw new SessionError('no_space', 'the meta tree has no block to hand out');
		}

		return {usedPbaCount: allocator.usedCount, addedLeafCount};
	}

	#nextToGrow(): 'free' | 'meta' | undefined {
		return nextToGrow(this.#free.geometry, this.#meta.tree.geometry);
	}

	async #growFree(allocator: BumpAllocator): Promise<number | undefined> {
		const {currentGeneration: generation} = this.#horizon;
		addLevelIfFull(this.#free, allocator, generation);
		const branch = await branchToMove(this.#free, generation);
		const plan = await this.#meta.plan(branch.length, this.#horizon);
		if (!plan) {
			return undefined;
		}

		do {
			await this.#meta.tree.load(this.#meta.leavesOf(plan));
			await this.#free.loadExisting(this.#free.geometry.leafCount);
		} while (this.#meta.leavesOf(plan).some(leaf => this.#meta.tree.walk(leaf, []) !== undefined));
		moveBranch(this.#free, branch, this.#meta.apply(plan, branch, this.#horizon), generation);
		return addLeaves(this.#free, allocator, {
			generation,
			setLeaf: (frame, index, address) => {
				setFreeEntry(this.#held.nodes, frame, index, address);
			},
		});
	}

	async store(): Promise<{freeTree: TreeRoot; metaTree: TreeRoot; storedBlockCount: number}> {
		const storedBlockCount = await this.#held.store((mark, hash) => {
			(mark === freeTreeMark ? this.#free : this.#meta.tree).setRootHash(hash);
		});
		return {freeTree: this.#free.root, metaTree: this.#meta.tree.root, storedBlockCount};
	}

	/** Blocks that could be handed out now, of the entries in `ranges`: pairs of first leaf and count. */
	async spare(ranges: readonly number[]): Promise<{addresses: Pba[]; leafCount: number}> {
		const {degree, leafCount} = this.#free.geometry;
		const addresses: Pba[] = [];
		for (let i = 0; i < ranges.length; i += 2) {
			const end = Math.min(ranges[i] + ranges[i + 1], leafCount);
			for (let firstLeaf = ranges[i] - (ranges[i] % degree); firstLeaf < end; firstLeaf += degree) {
				await this.#indexesIn(firstLeaf, (frame, index) => {
					const leaf = firstLeaf + index;
					const isSpare =
						leaf >= ranges[i] && leaf < end && this.#horizon.isAllocatable(this.#held.nodes, frame, index);
					if (isSpare) {
						addresses.push(this.#held.nodes.address(frame, index));
					}

					return isSpare;
				});
			}
		}

		return {addresses, leafCount};
	}

	/**
	 * Compares a part of both trees with what lies on the medium; leaves of the meta tree follow those of the free
	 * tree.
	 */
	async verify(firstLeaf: Vba): Promise<Verified & {nextLeaf: Vba | null}> {
		const freeCount = this.#free.geometry.leafCount;
		const isFree = firstLeaf < freeCount;
		const tree = isFree ? this.#free : this.#meta.tree;
		const firstLeaves = lowestBlocksFrom(tree, isFree ? firstLeaf : firstLeaf - freeCount, verifiedBlockCount);
		const verified = await verifyPart(
			this.#held,
			{tree, name: isFree ? 'free tree' : 'meta tree', firstLeaves},
			new SeenBlocks(),
		);
		const next = firstLeaf + firstLeaves.length * tree.geometry.degree;
		if (isFree) {
			return {...verified, nextLeaf: Math.min(next, freeCount)};
		}

		return {...verified, nextLeaf: next < freeCount + tree.geometry.leafCount ? next : null};
	}

	/** How full the pool is; undefined while there is more to count, so that the caller asks again. */
	async usage(): Promise<Usage | undefined> {
		return this.#usage.step(this.#horizon);
	}

	/** What only one kept snapshot holds, in a bounded part of the pool. */
	async soleHoldings(firstLeaf: Vba): Promise<SoleHoldings> {
		return soleHoldings(
			this.#free,
			this.#held.nodes,
			this.#horizon,
			Math.min(firstLeaf, this.#free.geometry.leafCount),
		);
	}

	#requireRoomForChanges(): void {
		if (this.#held.isPressed) {
			throw new SessionError(
				'no_space',
				'too many blocks of the free tree are changed: the state has to be secured first',
			);
		}
	}

	/** Positions in the lowest block from `firstLeaf` on whose entries are looked for. */
	async #indexesIn(firstLeaf: Vba, isWanted: (frame: Frame, index: NodeIndex) => boolean): Promise<NodeIndex[]> {
		const {degree, leafCount} = this.#free.geometry;
		const path: Path = [];
		await this.#free.load([firstLeaf]);
		this.#free.walk(firstLeaf, path);
		const indexes: NodeIndex[] = [];
		for (let index = 0; index < Math.min(degree, leafCount - firstLeaf); index++) {
			if (isWanted(path[1], index)) {
				indexes.push(index);
			}
		}

		return indexes;
	}

	/** Finds the entries of all the blocks in `wanted`, each of which has exactly one. */
	async #findEntries(wanted: ReadonlyMap<Pba, unknown>): Promise<PoolSlots[]> {
		const {degree, leafCount} = this.#free.geometry;
		const slots: PoolSlots[] = [];
		let missing = wanted.size;
		for (let firstLeaf = 0; firstLeaf < leafCount && missing > 0; firstLeaf += degree) {
			const indexes = await this.#indexesIn(firstLeaf, (frame, index) =>
				wanted.has(this.#held.nodes.address(frame, index)),
			);
			if (indexes.length > 0) {
				slots.push({firstLeaf, indexes});
				missing -= indexes.length;
			}
		}

		if (missing > 0) {
			throw new SessionError(
				'integrity',
				`${missing} blocks of a snapshot are not in the pool that should hold them`,
			);
		}

		return slots;
	}

	/** The entries at `leaves`, which must hold the blocks in `wanted`. */
	async #entriesAt(
		leaves: readonly Vba[],
		wanted: ReadonlyMap<Pba, unknown>,
		isFit: (frame: Frame, index: NodeIndex) => boolean = () => true,
	): Promise<PoolSlots[]> {
		const {degree, leafCount} = this.#free.geometry;
		const indexes = new Map<Vba, NodeIndex[]>();
		for (const leaf of leaves) {
			const firstLeaf = leaf - (leaf % degree);
			indexes.set(firstLeaf, [...(indexes.get(firstLeaf) ?? []), leaf - firstLeaf]);
		}

		const slots: PoolSlots[] = [];
		let foundCount = 0;
		for (const [firstLeaf, entries] of indexes) {
			const found =
				firstLeaf < leafCount
					? await this.#indexesIn(
							firstLeaf,
							(frame, index) =>
								entries.includes(index) &&
								wanted.has(this.#held.nodes.address(frame, index)) &&
								isFit(frame, index),
						)
					: [];
			slots.push({firstLeaf, indexes: found});
			foundCount += found.length;
		}

		if (foundCount !== wanted.size) {
			throw new SessionError(
				'integrity',
				`${wanted.size - foundCount} blocks are not in the entries of the pool that should hold them`,
			);
		}

		return slots;
	}

	/** Every block of the pool that a change touches stays changed in memory until the state is secured. */
	#requireRoomFor(slots: readonly PoolSlots[]): void {
		const touched = slots.length + this.#held.dirtyCount;
		if (touched > this.#held.frameCount / 4) {
			throw new SessionError(
				'no_space',
				`${slots.length} blocks of the free tree would change at once, more than the cache holds: raise its size`,
			);
		}
	}

	/**
	 * Moves the free tree's own blocks on the ways to the found entries, and holds the ways. Nothing else runs
	 * meanwhile.
	 */
	async #makeVolatile(slots: readonly PoolSlots[]): Promise<void> {
		const inner = await this.#innerBlocksToMove(slots);
		const plan = await this.#meta.plan(inner.length, this.#horizon);
		if (!plan) {
			throw new SessionError('no_space', 'the meta tree has no block to hand out');
		}

		await this.#loadBoth(slots, this.#meta.leavesOf(plan));
		const places = this.#meta.apply(plan, inner, this.#horizon);
		const path: Path = [];
		for (const [i, {leaf, level}] of inner.entries()) {
			this.#free.walk(leaf, path);
			this.#free.moveBlock(path, leaf, level, {address: places[i], generation: this.#horizon.currentGeneration});
		}

		for (const {firstLeaf} of slots) {
			this.#free.walk(firstLeaf, path);
			this.#free.markDirty(path, firstLeaf);
		}
	}

	/** Changes the found entries, whose blocks are volatile. */
	#setEntries(slots: readonly PoolSlots[], changed: (entry: PoolEntry) => PoolEntry): void {
		const path: Path = [];
		for (const {firstLeaf, indexes} of slots) {
			this.#free.walk(firstLeaf, path);
			this.#usage.forget(firstLeaf);
			for (const index of indexes) {
				this.#held.nodes.setPoolEntry(path[1], index, changed(this.#held.nodes.poolEntry(path[1], index)));
			}
		}
	}

	#giveBack(slots: readonly PoolSlots[]): void {
		for (const {firstLeaf} of slots) {
			this.#finder.forget(firstLeaf);
		}
	}

	/**
	 * Blocks on the ways to the found entries that do not belong to the current generation, each once, lowest first.
	 */
	async #innerBlocksToMove(slots: readonly PoolSlots[]): Promise<InnerBlock[]> {
		const blocks = new Map<string, InnerBlock>();
		const {maxLevel} = this.#free.geometry;
		for (const {firstLeaf: leaf} of slots) {
			const path: Path = [];
			await this.#free.load([leaf]);
			this.#free.walk(leaf, path);
			for (let level = 1; level <= maxLevel; level++) {
				if (this.#free.generationAt(path, leaf, level) !== this.#horizon.currentGeneration) {
					const address = this.#free.addressAt(path, leaf, level);
					blocks.set(`${level}:${this.#free.geometry.lowestVba(leaf, level)}`, {leaf, level, address});
				}
			}
		}

		return [...blocks.values()].sort((a, b) => a.level - b.level);
	}

	/** Loads the ways in both trees until all are held at the same time. */
	async #loadBoth(slots: readonly PoolSlots[], metaLeaves: readonly Vba[]): Promise<void> {
		const freeLeaves = slots.map(({firstLeaf}) => firstLeaf);
		const path: Path = [];
		do {
			await this.#free.load(freeLeaves);
			await this.#meta.tree.load(metaLeaves);
		} while (freeLeaves.some(leaf => this.#free.walk(leaf, path) !== undefined));
	}

	#exchangeEntries(slots: readonly PoolSlots[], entryOf: EntryOf): Exchanged {
		const addresses: Pba[] = [];
		const leaves: Vba[] = [];
		for (const {firstLeaf, indexes} of slots) {
			leaves.push(...indexes.map(index => firstLeaf + index));
		}

		this.#setEntries(slots, ({address}) => {
			addresses.push(address);
			return entryOf(addresses.length - 1, address);
		});
		return {addresses, leaves};
	}
}
