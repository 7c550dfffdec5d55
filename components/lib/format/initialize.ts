/**
 * Lays out a fresh container (format section 2, "Fresh container"): from PBA 8 upward the virtual block device, the
 * free tree and a meta tree with the free tree's dimensions. Leaves are not written.
 *
 * The original's containers have all inner blocks on the medium, interleaved with the leaves in post-order. In all
 * others they are implied by where they lie (fresh-layout.ts), so that even the largest container is created at once
 * and takes next to no room.
 */
import type {CipherName} from '../../sessions/cipher.js';
import type {FreshTree, RootNode} from '../../sessions/tree-root.js';
import type {Level, Pba} from '../../sessions/vocabulary.js';
import {firstPlace, freshTrees, type FreshTrees} from './fresh-layout.js';
import {addBlock} from './extents.js';
import {blockSize, freshPbaCount, innerBlockCount, superblockSlotCount, type Dimensions} from './geometry.js';
import {labelLength, labelOf} from './label.js';
import {NodeBlocks} from './node-blocks.js';
import {snapshotDirectoryBlockCount, snapshotSlotCount, type Key, type Superblock} from './superblock.js';
import {encodeUnusedSlot} from './superblock-codec.js';

export interface ContainerPlan {
	readonly virtualBlockDevice: Dimensions;
	readonly freeTree: Dimensions;
	readonly cipher: CipherName;
	readonly containerId: Uint8Array | undefined;
	readonly key: Key;
	/** Blocks of the flush log, behind everything else; 0 in the original's containers. */
	readonly flushLogBlockCount?: number;
	/** True where snapshots can have names: then two blocks behind the flush log are the snapshot directory's. */
	readonly namesSnapshots?: boolean | undefined;
	/** Undefined where inner blocks lie on the medium as they are. */
	readonly innerBlocks?: 'encrypted' | undefined;
}

export interface Medium {
	/** Writes `data` to pairs (first block, number of blocks). */
	write(extents: number[], data: Uint8Array): Promise<void>;
}

/** Blocks collected before they are written together: 1 MiB. */
const batchBlockCount = 256;
/** Batches in memory: while others are being written, one is filled. */
const batchCount = 4;

/** Writes blocks of ascending addresses, many at a time, while the next ones are being made. */
class BatchWriter {
	readonly #medium: Medium;
	readonly #buffers = Array.from({length: batchCount}, () => Buffer.alloc(batchBlockCount * blockSize));
	/** Writes under way, oldest first: a buffer is filled again once its write has ended. */
	readonly #writes: Array<Promise<void>> = [];
	#batch = 0;
	readonly #progress: (writtenBlockCount: number) => void;
	#extents: number[] = [];
	#count = 0;
	#written = 0;

	constructor(medium: Medium, progress: (writtenBlockCount: number) => void) {
		this.#medium = medium;
		this.#progress = progress;
	}

	async add(address: Pba, block: Uint8Array): Promise<void> {
		this.#buffers[this.#batch].set(block, this.#count * blockSize);
		addBlock(this.#extents, address);
		this.#count++;
		if (this.#count === batchBlockCount) {
			this.#beginWrite();
			if (this.#writes.length === batchCount) {
				await this.#writes.shift();
			}
		}
	}

	async finish(): Promise<void> {
		this.#beginWrite();
		await Promise.all(this.#writes.splice(0));
	}

	#beginWrite(): void {
		const count = this.#count;
		if (count > 0) {
			const write = this.#medium
				.write(this.#extents, this.#buffers[this.#batch].subarray(0, count * blockSize))
				.then(() => {
					this.#written += count;
					this.#progress(this.#written);
				});
			// Whoever waits for it meets the failure; until then it must not count as one that nobody handles.
			write.catch(() => undefined);
			this.#writes.push(write);
			this.#batch = (this.#batch + 1) % batchCount;
			this.#extents = [];
			this.#count = 0;
		}
	}
}

/** Gives out the places of a fresh container in ascending order. */
class Places {
	#next: Pba = superblockSlotCount;

	take(): Pba {
		return this.#next++;
	}
}

/** Lays out one tree in post-order. */
class TreeLayout {
	readonly #dimensions: Dimensions;
	readonly #pool: boolean;
	readonly #writer: BatchWriter;
	/** The block of each level that is being filled. */
	readonly #blocks: readonly NodeBlocks[];
	readonly #places: Places;
	#leavesLeft: number;

	constructor(dimensions: Dimensions, {pool, places, writer}: {pool: boolean; places: Places; writer: BatchWriter}) {
		this.#dimensions = dimensions;
		this.#pool = pool;
		this.#writer = writer;
		this.#places = places;
		this.#blocks = Array.from({length: dimensions.maxLevel + 1}, () => new NodeBlocks(new Uint8Array(blockSize)));
		this.#leavesLeft = dimensions.leafCount;
	}

	/** Returns the root. */
	async write(): Promise<RootNode> {
		const {address, label} = await this.#branch(this.#dimensions.maxLevel);
		return {address, generation: 0, hash: label};
	}

	async #branch(level: Level): Promise<{address: Pba; label: Uint8Array}> {
		const nodes = this.#blocks[level];
		nodes.clear(0);
		for (let index = 0; index < this.#dimensions.degree && this.#leavesLeft > 0; index++) {
			if (level === 1) {
				this.#leaf(nodes, index);
			} else {
				const child = await this.#branch(level - 1);
				nodes.setPlace(0, index, child.address, 0);
				nodes.setHash(0, index, child.label, 0);
			}
		}

		const address = this.#places.take();
		const label = labelOf(nodes.memory);
		await this.#writer.add(address, nodes.memory);
		return {address, label};
	}

	#leaf(nodes: NodeBlocks, index: number): void {
		const address = this.#places.take();
		this.#leavesLeft--;
		if (this.#pool) {
			nodes.setPoolEntry(0, index, {
				address,
				lastVba: 0,
				allocGeneration: 0,
				freeGeneration: 0,
				lastKeyId: 0,
				reserved: false,
			});
		} else {
			nodes.setPlace(0, index, address, 0);
		}
	}
}

/** The original's containers have no id, nor anything else of ours. */
function isOriginal({containerId}: ContainerPlan): boolean {
	return containerId === undefined;
}

/** Blocks that `layOut` writes, for progress. */
export function layoutBlockCount(plan: ContainerPlan): number {
	const innerCount = isOriginal(plan)
		? innerBlockCount(plan.virtualBlockDevice) + 2 * innerBlockCount(plan.freeTree)
		: 0;
	return innerCount + superblockSlotCount - 1;
}

interface FreshRoots {
	readonly device: RootNode;
	readonly free: RootNode;
	readonly meta: RootNode;
}

async function writeTrees({virtualBlockDevice, freeTree}: ContainerPlan, writer: BatchWriter): Promise<FreshRoots> {
	const places = new Places();
	return {
		device: await new TreeLayout(virtualBlockDevice, {pool: false, places, writer}).write(),
		free: await new TreeLayout(freeTree, {pool: true, places, writer}).write(),
		meta: await new TreeLayout(freeTree, {pool: true, places, writer}).write(),
	};
}

function impliedRoots({virtualBlockDevice, freeTree}: ContainerPlan, fresh: FreshTrees): FreshRoots {
	const rootOf = (tree: FreshTree, {degree, maxLevel}: Dimensions) => ({
		address: firstPlace(tree, degree, maxLevel),
		generation: 0,
		hash: new Uint8Array(labelLength),
	});
	return {
		device: rootOf(fresh.virtualBlockDevice, virtualBlockDevice),
		free: rootOf(fresh.freeTree, freeTree),
		meta: rootOf(fresh.metaTree, freeTree),
	};
}

/**
 * Writes everything but superblock slot 0 and returns that superblock. The container exists once the slot is written
 * and its hash is anchored.
 */
export async function layOut(
	plan: ContainerPlan,
	medium: Medium,
	progress: (writtenBlockCount: number) => void = () => undefined,
): Promise<Superblock> {
	const writer = new BatchWriter(medium, progress);
	for (let slot = 1; slot < superblockSlotCount; slot++) {
		await writer.add(slot, encodeUnusedSlot());
	}

	const fresh = isOriginal(plan) ? undefined : freshTrees(plan.virtualBlockDevice, plan.freeTree);
	const {device, free, meta} = fresh ? impliedRoots(plan, fresh) : await writeTrees(plan, writer);
	await writer.finish();
	const {maxLevel, degree, leafCount} = plan.virtualBlockDevice;
	const logPba = freshPbaCount(plan.virtualBlockDevice, plan.freeTree);
	const logBlockCount = plan.flushLogBlockCount ?? 0;
	const directoryPba = logPba + logBlockCount;
	return {
		state: 'normal',
		rekeyingVba: 0,
		resizing: {pbaCount: 0, leafCount: 0},
		previousKey: undefined,
		currentKey: plan.key,
		snapshots: Array.from({length: snapshotSlotCount}, (_, slot) =>
			slot === 0 ? {root: device, leafCount, maxLevel, keep: false} : undefined,
		),
		currentSnapshot: 0,
		lastSecuredGeneration: 0,
		degree,
		firstPba: 0,
		pbaCount: directoryPba + (plan.namesSnapshots ? snapshotDirectoryBlockCount : 0),
		freeTree: {root: free, ...plan.freeTree, ...(fresh && {fresh: fresh.freeTree})},
		metaTree: {root: meta, ...plan.freeTree, ...(fresh && {fresh: fresh.metaTree})},
		cipher: plan.cipher,
		containerId: plan.containerId,
		...(logBlockCount > 0 && {flushLog: {firstPba: logPba, blockCount: logBlockCount}}),
		...(plan.innerBlocks && {innerBlocks: plan.innerBlocks}),
		...(fresh && {
			features: [
				'implied_inner_blocks',
				'emptied_leaves',
				...(plan.namesSnapshots ? (['snapshot_names'] as const) : []),
			],
			fresh,
		}),
		...(plan.namesSnapshots && {
			snapshotDirectory: {firstPba: directoryPba, place: 0, hash: new Uint8Array(labelLength)},
		}),
	};
}
