/**
 * Lays out a fresh container (format section 2, "Fresh container"): from PBA 8 upward in post-order the virtual block
 * device, the free tree and a meta tree with the free tree's dimensions. Leaves are not written.
 */
import type {CipherName} from '../sessions/cipher.js';
import type {RootNode} from '../sessions/tree-root.js';
import type {Level, Pba} from './addresses.js';
import {blockSize, freshPbaCount, innerBlockCount, superblockSlotCount, type Dimensions} from './geometry.js';
import {labelOf} from './label.js';
import {NodeBlocks} from './node-blocks.js';
import {encodeSuperblock, encodeUnusedSlot, snapshotSlotCount, type Key, type Superblock} from './superblock.js';

export interface ContainerPlan {
	readonly virtualBlockDevice: Dimensions;
	readonly freeTree: Dimensions;
	readonly cipher: CipherName;
	readonly containerId: Uint8Array | undefined;
	readonly key: Key;
}

export interface Medium {
	/** Writes `data` to pairs (first block, number of blocks). */
	write(extents: number[], data: Uint8Array): Promise<void>;
}

/** Blocks collected before they are written together: 1 MiB. */
const batchBlockCount = 256;

/** Writes blocks of ascending addresses, many at a time. */
class BatchWriter {
	readonly #medium: Medium;
	readonly #buffer = Buffer.alloc(batchBlockCount * blockSize);
	readonly #progress: (writtenBlockCount: number) => void;
	#extents: number[] = [];
	#count = 0;
	#written = 0;

	constructor(medium: Medium, progress: (writtenBlockCount: number) => void) {
		this.#medium = medium;
		this.#progress = progress;
	}

	async add(address: Pba, block: Uint8Array): Promise<void> {
		this.#buffer.set(block, this.#count * blockSize);
		const last = this.#extents.length - 2;
		if (last >= 0 && this.#extents[last] + this.#extents[last + 1] === address) {
			this.#extents[last + 1]++;
		} else {
			this.#extents.push(address, 1);
		}

		this.#count++;
		if (this.#count === batchBlockCount) {
			await this.finish();
		}
	}

	async finish(): Promise<void> {
		if (this.#count > 0) {
			await this.#medium.write(this.#extents, this.#buffer.subarray(0, this.#count * blockSize));
			this.#written += this.#count;
			this.#extents = [];
			this.#count = 0;
			this.#progress(this.#written);
		}
	}
}

/** Lays out one tree in post-order from `firstPba` on. */
class TreeLayout {
	readonly #dimensions: Dimensions;
	readonly #pool: boolean;
	readonly #writer: BatchWriter;
	#nextPba: Pba;
	#leavesLeft: number;

	constructor(dimensions: Dimensions, {pool, firstPba, writer}: {pool: boolean; firstPba: Pba; writer: BatchWriter}) {
		this.#dimensions = dimensions;
		this.#pool = pool;
		this.#writer = writer;
		this.#nextPba = firstPba;
		this.#leavesLeft = dimensions.leafCount;
	}

	async write(): Promise<{root: RootNode; nextPba: Pba}> {
		const {address, label} = await this.#branch(this.#dimensions.maxLevel);
		return {root: {address, generation: 0, hash: label}, nextPba: this.#nextPba};
	}

	async #branch(level: Level): Promise<{address: Pba; label: Uint8Array}> {
		const nodes = new NodeBlocks(new Uint8Array(blockSize));
		for (let index = 0; index < this.#dimensions.degree && this.#leavesLeft > 0; index++) {
			if (level === 1) {
				this.#leaf(nodes, index);
			} else {
				const child = await this.#branch(level - 1);
				nodes.setPlace(0, index, child.address, 0);
				nodes.setHash(0, index, child.label, 0);
			}
		}

		const address = this.#nextPba++;
		await this.#writer.add(address, nodes.memory);
		return {address, label: Uint8Array.from(labelOf(nodes.memory))};
	}

	#leaf(nodes: NodeBlocks, index: number): void {
		const address = this.#nextPba++;
		this.#leavesLeft--;
		if (this.#pool) {
			nodes.setPoolEntry(0, index, {address, lastVba: 0, allocGeneration: 0, freeGeneration: 0, lastKeyId: 0, reserved: false});
		} else {
			nodes.setPlace(0, index, address, 0);
		}
	}
}

/** Blocks that `layOut` writes, for progress. */
export function layoutBlockCount({virtualBlockDevice, freeTree}: ContainerPlan): number {
	return innerBlockCount(virtualBlockDevice) + (2 * innerBlockCount(freeTree)) + superblockSlotCount - 1;
}

/**
 * Writes everything but superblock slot 0 and returns that superblock, encoded. The container exists once the slot is
 * written and its hash is anchored.
 */
export async function layOut(
	plan: ContainerPlan,
	medium: Medium,
	progress: (writtenBlockCount: number) => void = () => undefined,
): Promise<{superblock: Buffer; hash: Uint8Array}> {
	const writer = new BatchWriter(medium, progress);
	for (let slot = 1; slot < superblockSlotCount; slot++) {
		await writer.add(slot, encodeUnusedSlot());
	}

	const device = await new TreeLayout(plan.virtualBlockDevice, {pool: false, firstPba: superblockSlotCount, writer}).write();
	const free = await new TreeLayout(plan.freeTree, {pool: true, firstPba: device.nextPba, writer}).write();
	const meta = await new TreeLayout(plan.freeTree, {pool: true, firstPba: free.nextPba, writer}).write();
	await writer.finish();
	const {maxLevel, degree, leafCount} = plan.virtualBlockDevice;
	const superblock: Superblock = {
		state: 'normal',
		rekeyingVba: 0,
		resizing: {pbaCount: 0, leafCount: 0},
		previousKey: undefined,
		currentKey: plan.key,
		snapshots: Array.from({length: snapshotSlotCount}, (_, slot) => slot === 0 ? {root: device.root, leafCount, maxLevel, keep: false} : undefined),
		currentSnapshot: 0,
		lastSecuredGeneration: 0,
		degree,
		firstPba: 0,
		pbaCount: freshPbaCount(plan.virtualBlockDevice, plan.freeTree),
		freeTree: {root: free.root, ...plan.freeTree},
		metaTree: {root: meta.root, ...plan.freeTree},
		cipher: plan.cipher,
		containerId: plan.containerId,
	};
	const encoded = encodeSuperblock(superblock);
	return {superblock: encoded, hash: labelOf(encoded)};
}
