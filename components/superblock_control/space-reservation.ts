/**
 * Room on a host that may be full. What has to succeed all the same has room of its own, taken when the container is
 * created or opened and kept: the whole flush log, so that a flush needs none; and the spare blocks at the pool's end,
 * for trees that have to be stored. Where storing finds no room, theirs and that of all other spare blocks is given
 * back to the host, and after the checkpoint, which makes others spare, it is taken again. Clients' data never gets the
 * kept room.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import type {Generation, Pba, Vba} from '../sessions/vocabulary.js';
import {extentsOf} from '../lib/format/extents.js';
import type {Superblock} from '../lib/format/superblock.js';
import type {block} from '../sessions/block.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {keptSnapshots, treeOf} from './transition.js';

/** Entries at the pool's end whose spare blocks keep their room: 4 MiB, and no more than a quarter of the pool. */
const keptLeafCountMax = 1024;
const keptPartMax = 1 / 4;

/** Blocks of the log that are given up first; with each further attempt twice as many. */
const firstReleaseCount = 32;

/** Blocks that one request clears. */
const clearedBlockCountMax = 4096;

/**
 * After looking for room in vain for a client's data, wait so long before doing so again: it goes through the whole
 * pool.
 */
const fruitlessMs = 1000;

export interface SpaceReservationParts {
	readonly block: Client<typeof block>;
	readonly device: Client<typeof virtualBlockDevice>;
	readonly freeTree: Client<typeof freeTree>;
	readonly env: Environment;
	/** The last secured one. */
	superblock(): Superblock;
	/** Blocks of the log, from its beginning on, that hold what was flushed. */
	usedLogBlockCount(): number;
}

export class SpaceReservation {
	readonly #parts: SpaceReservationParts;
	/** Blocks at the log's beginning whose room has not been given up. */
	#keptLogCount: number;
	/** Less is kept than should be. */
	#isShort = true;
	#isTold = false;
	#fruitlessUntil = -Infinity;
	#running: Promise<void> | undefined;

	constructor(parts: SpaceReservationParts) {
		this.#parts = parts;
		this.#keptLogCount = parts.superblock().flushLog?.blockCount ?? 0;
	}

	/** The first entry of the pool whose block keeps its room. */
	get firstKeptLeaf(): Vba {
		const {leafCount} = this.#parts.superblock().freeTree;
		return leafCount - Math.min(keptLeafCountMax, Math.floor(leafCount * keptPartMax));
	}

	/** Takes the room that is lacking, where there is any. */
	async keep(): Promise<void> {
		if (this.#isShort) {
			this.#running ??= this.#take().finally(() => {
				this.#running = undefined;
			});
			await this.#running;
		}
	}

	/** Resolves when no room is being taken. */
	async idle(): Promise<void> {
		await this.#running;
	}

	async #take(): Promise<void> {
		const {block, env, freeTree, superblock} = this.#parts;
		const {
			flushLog: area,
			freeTree: {leafCount},
		} = superblock();
		this.#isShort = false;
		try {
			if (area) {
				await block.allocate({extents: [area.firstPba, area.blockCount]});
				this.#keptLogCount = area.blockCount;
			}

			const {addresses} =
				this.firstKeptLeaf < leafCount
					? await freeTree.spare({ranges: [this.firstKeptLeaf, leafCount - this.firstKeptLeaf]})
					: {addresses: []};
			if (addresses.length > 0) {
				await block.allocate({extents: extentsOf(addresses.sort((a, b) => a - b))});
			}
		} catch (error) {
			if (!isSessionError(error)) {
				throw error;
			}

			this.#isShort = true;
			if (!this.#isTold) {
				this.#isTold = true;
				env.log(
					`the room that is kept for a full host cannot be taken: ${error.message}; make room on the host`,
					'warning',
				);
			}
		}
	}

	/** Makes room for what has to be stored; false where there is none. `attempt` counts from 0. */
	async make(attempt: number): Promise<boolean> {
		this.#isShort = true;
		if (attempt > 0) {
			return this.#releaseLog(attempt - 1);
		}

		await this.#giveBackSpare(this.#parts.superblock().freeTree.leafCount);
		return true;
	}

	/**
	 * The same right after the trees were opened, when only the log knows which spare blocks hold what was `flushed`.
	 */
	async makeForReplay(attempt: number, flushed: ReadonlySet<Pba>): Promise<boolean> {
		this.#isShort = true;
		if (attempt > 0) {
			return this.#releaseLog(attempt - 1);
		}

		const {block, freeTree, superblock} = this.#parts;
		const {leafCount} = superblock().freeTree;
		for (let leaf = 0; leaf < leafCount; leaf += clearedBlockCountMax) {
			const {addresses} = await freeTree.spare({ranges: [leaf, clearedBlockCountMax]});
			const spare = addresses.filter(address => !flushed.has(address)).sort((a, b) => a - b);
			if (spare.length > 0) {
				await block.clear({extents: extentsOf(spare)});
			}
		}

		return true;
	}

	/** Gives up room of the log; false where it has no more than it uses. */
	async #releaseLog(attempt: number): Promise<boolean> {
		const {block, superblock, usedLogBlockCount} = this.#parts;
		const {flushLog: area} = superblock();
		const first = Math.max(usedLogBlockCount(), this.#keptLogCount - firstReleaseCount * 2 ** attempt);
		if (!area || first >= this.#keptLogCount) {
			return false;
		}

		await block.clear({extents: [area.firstPba + first, this.#keptLogCount - first]});
		this.#keptLogCount = first;
		return true;
	}

	/** Makes room for a client's data out of what nobody needs any more; false where that was in vain just now. */
	async makeForData(): Promise<boolean> {
		if (this.#parts.env.now() < this.#fruitlessUntil) {
			return false;
		}

		await this.#giveBackSpare(this.firstKeptLeaf);
		// What has to succeed comes first.
		await this.keep();
		return true;
	}

	/** What `makeForData` made was not enough. */
	noteFruitless(): void {
		this.#fruitlessUntil = this.#parts.env.now() + fruitlessMs;
	}

	/** Clears the blocks of the pool before `endLeaf` that nobody needs after the last checkpoint. */
	async #giveBackSpare(endLeaf: Vba): Promise<void> {
		const {device, superblock} = this.#parts;
		const secured = superblock();
		const {lastSecuredGeneration} = secured;
		const snapshots = keptSnapshots(secured).map(snapshot => ({
			generation: snapshot.root.generation,
			tree: treeOf(secured, snapshot),
		}));
		// As if one that held nothing of the device were gone: then the whole pool is gone through.
		let snapshotGone: Generation | null = lastSecuredGeneration;
		for (let isMore = true; isMore; snapshotGone = null) {
			const {remainder} = await device.reclaim({lastSecuredGeneration, snapshots, snapshotGone, endLeaf});
			isMore = remainder === 'more';
		}
	}
}

/** True where a request failed since the host has no room, not since the pool has nothing to hand out. */
export function isHostFull(error: unknown): boolean {
	return isSessionError(error) && error.code === 'no_space' && error.detail.onMedium === true;
}
