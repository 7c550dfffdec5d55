/**
 * Reverting to a snapshot: every block in which the snapshot differs from the current tree comes out of the pool, where
 * it was held for the snapshot, and the current tree's block goes in for it. No data is copied.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Generation, Pba, Vba} from '../sessions/vocabulary.js';
import {HashTree, type Path} from '../lib/tree/hash-tree.js';
import type {TreeRoot} from '../sessions/tree-root.js';
import {readOnlyMark, type Device} from './device.js';
import type {LeafPlace} from './placement.js';
import {differences, unfinishedDifferences} from './tree-difference.js';
import type {Writer} from './writer.js';

/** Leaves that are cleared with one exchange. */
const clearedAtOnce = 256;

export interface Revert {
	readonly snapshot: TreeRoot;
	/** The newest generation that any snapshot still needs. */
	readonly newestKeptGeneration: Generation;
}

/** What reverting changes. */
interface RevertPlan {
	/** For the free tree: blocks to take out of the pool and blocks to take in for them, but for the roots. */
	readonly swaps: number[];
	/**
	 * Leaves that the snapshot never wrote: the places they have in the current tree. Such a leaf is later written in
	 * place, and in the place that the snapshot knows another snapshot may have its content. So the leaf keeps the
	 * current place where that has no content; where it has, it is emptied there, or gets a new place where leaves
	 * cannot be emptied.
	 */
	readonly unwritten: Map<Vba, LeafPlace>;
}

async function plan(device: Device, {snapshot, newestKeptGeneration}: Revert): Promise<RevertPlan> {
	const {held, tree} = device;
	const swaps: number[] = [];
	const unwritten = new Map<Vba, LeafPlace>();
	const reverted = new HashTree(held, snapshot, readOnlyMark);
	const unfinished = await unfinishedDifferences(tree, reverted);
	if (!unfinished) {
		throw new SessionError(
			'refused',
			'the device has been extended since the snapshot was taken, by inner blocks without a leaf so far; it never shrinks, so it cannot be reverted: copy from the snapshot instead',
		);
	}

	for (const {vba, level, before, after} of unfinished) {
		swaps.push(after.address, before.address, before.generation, device.poolVba(vba, level));
	}

	for await (const {vba, level, before, after} of differences(
		{held, isEmptied: (frame, index) => device.isEmptied(frame, index)},
		tree,
		reverted,
	)) {
		if (level === 0 && after.generation === 0) {
			if (before.address !== after.address || before.generation <= newestKeptGeneration) {
				unwritten.set(vba, before);
			}
		} else if (level < tree.geometry.maxLevel) {
			// A place without content is held for no snapshot: a leaf that was cleared reads as zeroes, whatever lies
			// there.
			const generation = level === 0 && before.generation === 0 ? device.currentGeneration : before.generation;
			swaps.push(after.address, before.address, generation, tree.geometry.lowestVba(vba, level));
		}
	}

	return {swaps, unwritten};
}

/** Refuses before anything is changed what the pool could not give. */
async function requireRoom({servers, tree, held, emptiesLeaves}: Device, {unwritten}: RevertPlan): Promise<void> {
	const {degree, maxLevel} = tree.geometry;
	const lowest = new Set([...unwritten.keys()].map(vba => Math.floor(vba / degree)));
	const needed = (emptiesLeaves ? 0 : unwritten.size) + (lowest.size + 1) * maxLevel;
	const {allocatableCount} = await servers.free_tree.usage({});
	if (needed > allocatableCount || lowest.size * maxLevel > held.frameCount / 4) {
		throw new SessionError(
			'no_space',
			`reverting needs up to ${needed} spare blocks at once, since newer snapshots share places with the old one; there are ${allocatableCount}: discard newer snapshots first, or extend the free tree`,
		);
	}
}

/** With no request under way. All or nothing. @throws SessionError */
export async function revertTo(device: Device, writer: Writer, revert: Revert): Promise<void> {
	const {servers, tree} = device;
	if (device.held.dirtyCount > 0) {
		throw new SessionError('bad_request', 'the tree has changed blocks that are not stored');
	}

	const planned = await plan(device, revert);
	await requireRoom(device, planned);
	// The reverted tree gets a root block of its own, in the current root's place in the books: its record will carry
	// the generation of the checkpoint, as every current snapshot's does, and the snapshot keeps the old one.
	const {address, generation} = tree.root.root;
	const keyId = device.keyOf(0);
	const {addresses, leaves} = await servers.free_tree.exchange({
		items: [address, generation, 0],
		keyId,
		reserved: true,
		relief: true,
	});
	try {
		await servers.free_tree.swap({items: planned.swaps, leaves: [], keyId});
	} catch (error) {
		await servers.free_tree.restore({leaves, addresses});
		throw error;
	}

	try {
		await replaceTree(device, revert.snapshot, addresses[0]);
		await clearUnwritten(device, writer, planned.unwritten);
	} catch (error) {
		throw new RevertInterrupted(
			`reverting stopped half-way: ${error instanceof Error ? error.message : String(error)}`,
		);
	}
}

/** The pool is ahead of the tree: the component has to start over from the last secured state. */
class RevertInterrupted extends Error {
	override readonly name = 'RevertInterrupted';
}

async function clearUnwritten(device: Device, writer: Writer, unwritten: ReadonlyMap<Vba, LeafPlace>): Promise<void> {
	const leaves = [...unwritten.keys()].sort((a, b) => a - b);
	for (let first = 0; first < leaves.length; first += clearedAtOnce) {
		const ranges = leaves.slice(first, first + clearedAtOnce).map(vba => ({vba, count: 1}));
		await (device.emptiesLeaves
			? writer.empty(ranges, device.keyOf(0), unwritten)
			: writer.clear(ranges, device.keyOf(0), unwritten));
	}
}

async function replaceTree(device: Device, snapshot: TreeRoot, rootAddress: Pba): Promise<void> {
	device.replaceTree(snapshot);
	const {tree, held, currentGeneration} = device;
	const path: Path = [];
	while (tree.walk(0, path)) {
		await tree.load([0]);
	}

	const {maxLevel} = tree.geometry;
	tree.moveBlock(path, 0, maxLevel, {address: rootAddress, generation: currentGeneration});
	held.markDirty(path[maxLevel], maxLevel, tree.mark);
}
