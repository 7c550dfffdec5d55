/** Extension of the virtual block device: new leaves that were never written (format section 8). */
import {SessionError} from '../../runtime/sdk/session.js';
import {
	BumpAllocator,
	addLeaves,
	addLevelIfFull,
	branchToMove,
	isAtLimit,
	isBranchHeld,
	moveBranch,
	type BranchBlock,
} from '../lib/tree/tree-growth.js';
import type {Device} from './device.js';

export interface Extension {
	readonly firstPba: number;
	readonly pbaCount: number;
	/** Each step fills one block of level 1. */
	readonly stepCount: number;
}

export interface Extended {
	readonly usedPbaCount: number;
	readonly addedLeafCount: number;
}

/** Does up to `stepCount` steps, with no write under way. A step that fails changes nothing; earlier ones stay. */
export async function extend(device: Device, {firstPba, pbaCount, stepCount}: Extension): Promise<Extended> {
	const allocator = new BumpAllocator(firstPba, pbaCount);
	let addedLeafCount = 0;
	for (let step = 0; step < stepCount && allocator.remaining > 0 && !isAtLimit(device.tree); step++) {
		try {
			addedLeafCount += await extendOnce(device, allocator);
		} catch (error) {
			if (allocator.usedCount === 0) {
				throw error;
			}

			break;
		}
	}

	return {usedPbaCount: allocator.usedCount, addedLeafCount};
}

async function extendOnce(device: Device, allocator: BumpAllocator): Promise<number> {
	const {tree, currentGeneration: generation, held} = device;
	if (held.isPressed) {
		throw new SessionError('no_space', 'too many inner blocks are changed: the state has to be secured first');
	}

	addLevelIfFull(tree, allocator, generation);
	await makeVolatile(device, await branchToMove(tree, generation));
	return addLeaves(tree, allocator, {
		generation,
		setLeaf(frame, index, address) {
			held.nodes.setPlace(frame, index, address, 0);
		},
	});
}

async function makeVolatile(device: Device, blocks: readonly BranchBlock[]): Promise<void> {
	if (blocks.length === 0) {
		return;
	}

	const {tree, servers, currentGeneration} = device;
	const [{vba}] = blocks;
	const items = blocks.flatMap(({address, generation, level}) => [address, generation, device.poolVba(vba, level)]);
	const {addresses, leaves} = await servers.free_tree.exchange({
		items,
		keyId: device.keyOf(vba),
		reserved: true,
		relief: true,
	});
	try {
		while (!isBranchHeld(tree, vba)) {
			await tree.loadExisting(vba);
		}
	} catch (error) {
		await servers.free_tree.restore({leaves, addresses});
		throw error;
	}

	moveBranch(tree, blocks, addresses, currentGeneration);
}
