/** Extension of the device or of its pool of spare blocks (format section 8). */
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {
	blockSize,
	innerBlockCount,
	maxLevelLimit,
	superblockSlotCount,
	type Dimensions,
} from '../lib/format/geometry.js';
import {poolRoom} from '../lib/format/pool-growth.js';
import {reservedBlockCount, type Superblock} from '../lib/format/superblock.js';
import type {block} from '../sessions/block.js';
import type {Work} from './background-operation.js';
import {requireSlot} from './restrictions.js';
import type {Commit} from './commit.js';
import type {CommitServers} from './commit-actions.js';
import {currentSnapshotOf} from './transition.js';

export type ExtendedTree = 'vbd' | 'ft';

/** Lowest blocks that one step adds. */
const stepsAtOnce = 64;

/** PBAs of this project are held in 32 bits where many are kept. */
const pbaCountMax = 2 ** 32;

/** Blocks that the device can still take, its own inner blocks included. */
function deviceRoom({degree, leafCount, maxLevel}: Dimensions): number {
	const full = {degree, maxLevel: maxLevelLimit, leafCount: degree ** maxLevelLimit};
	return full.leafCount + innerBlockCount(full) - leafCount - innerBlockCount({degree, leafCount, maxLevel});
}

/** Inner blocks without a leaf that earlier extensions have left, in whichever tree: every block has an owner. */
function unfinishedBlockCount(superblock: Superblock): number {
	const device = {...currentSnapshotOf(superblock), degree: superblock.degree};
	return [device, superblock.freeTree, superblock.metaTree].reduce(
		(left, tree) => left - tree.leafCount - innerBlockCount(tree),
		superblock.pbaCount - superblockSlotCount - reservedBlockCount(superblock),
	);
}

/** How many of `wanted` blocks a tree can still take: so many at least, as it may have unfinished branches already. */
function roomIn(superblock: Superblock, tree: ExtendedTree, wanted: number): number {
	const unfinished = unfinishedBlockCount(superblock);
	const room =
		tree === 'vbd'
			? deviceRoom({...currentSnapshotOf(superblock), degree: superblock.degree})
			: poolRoom(superblock.freeTree, superblock.metaTree, wanted + unfinished);
	return Math.max(0, Math.min(room - unfinished, pbaCountMax - superblock.pbaCount));
}

/**
 * Refuses what could not be completed, and makes the medium large enough. @throws SessionError `out_of_range`,
 * `refused`, `no_space`
 */
export async function prepareExtension(
	medium: Client<typeof block>,
	superblock: Superblock,
	{tree, blockCount}: {tree: ExtendedTree; blockCount: number},
): Promise<void> {
	const room = roomIn(superblock, tree, blockCount);
	if (blockCount > room) {
		throw new SessionError(
			'out_of_range',
			`${blockCount} blocks are more than the format allows: ${tree === 'vbd' ? 'the device' : 'the free tree'} can take ${room} more; nothing was changed`,
		);
	}

	await makeRoom(medium, superblock.pbaCount + blockCount);
}

/** Makes the medium at least `needed` blocks large. @throws SessionError `refused` where it cannot grow */
export async function makeRoom(medium: Client<typeof block>, needed: number): Promise<void> {
	const geometry = await medium.geometry({});
	if (geometry.blockCount < needed) {
		if (!geometry.growable) {
			throw new SessionError(
				'refused',
				`the container would need ${needed * blockSize} bytes, the image has ${geometry.blockCount * blockSize} and cannot grow; nothing was changed`,
			);
		}

		await medium.grow({blockCount: needed});
	}
}

/** What is left of the extension that a superblock describes. */
export class ExtensionWork implements Work {
	readonly unitBytes = blockSize;
	/** What clients see of the growth is what is secured: a size that they have seen never shrinks. */
	readonly secureIntervalMs = 100;
	readonly total: number;
	readonly #servers: CommitServers;
	readonly #commit: Commit;
	readonly #tree: ExtendedTree;
	#firstPba: number;
	#left: number;
	#addedLeafCount: number;

	constructor(servers: CommitServers, commit: Commit) {
		// Where the device was to be put to rest on a full host, steps may have been done that are not secured.
		const {state, pbaCount, resizing} = commit.upcoming;
		this.#servers = servers;
		this.#commit = commit;
		// Beside a rekeying only the pool grows.
		this.#tree = state === 'extending_vbd' ? 'vbd' : 'ft';
		this.#firstPba = pbaCount;
		this.#left = resizing.pbaCount;
		this.#addedLeafCount = resizing.leafCount;
		this.total = resizing.pbaCount;
	}

	get done(): number {
		return this.total - this.#left;
	}

	async step(): Promise<boolean> {
		if (this.#left === 0) {
			return false;
		}

		let used = 0;
		await this.#commit.changeTogether(async () => {
			if (this.#tree === 'vbd') {
				requireSlot(this.#commit.latest);
			}

			const server = this.#tree === 'vbd' ? this.#servers.virtual_block_device : this.#servers.free_tree;
			const {usedPbaCount, addedLeafCount} = await server.extend({
				firstPba: this.#firstPba,
				pbaCount: this.#left,
				stepCount: stepsAtOnce,
			});
			used = usedPbaCount;
			this.#firstPba += usedPbaCount;
			this.#left -= usedPbaCount;
			this.#addedLeafCount += addedLeafCount;
			const resizing = {pbaCount: this.#left, leafCount: this.#addedLeafCount};
			const pbaCount = this.#firstPba;
			return {kind: 'extend', pbaCount, resizing};
		});
		return used > 0 && this.#left > 0;
	}

	async finish(): Promise<void> {
		await this.#commit.checkpointWith({kind: 'end_extension'});
	}
}
