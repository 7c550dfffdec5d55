/** Pure steps from one superblock to the next. */
import type {Generation} from '../container/addresses.js';
import {keptSnapshotCountMax, type Snapshot, type Superblock} from '../container/superblock.js';
import type {TreeRoot} from '../sessions/tree-root.js';

/** The trees of one consistent state, as they lie on the medium. */
export interface StoredTrees {
	readonly tree: TreeRoot;
	readonly freeTree: TreeRoot;
	readonly metaTree: TreeRoot;
}

/** The snapshot that is the current state. */
export function currentSnapshotOf({snapshots, currentSnapshot}: Superblock): Snapshot {
	const snapshot = snapshots[currentSnapshot];
	if (!snapshot) {
		throw new Error(`the current snapshot slot ${currentSnapshot} is empty`);
	}

	return snapshot;
}

/** The generation that everything written after opening this superblock carries (format section 4). */
export function firstGenerationAfter(superblock: Superblock): Generation {
	return Math.max(currentSnapshotOf(superblock).root.generation, superblock.lastSecuredGeneration) + 1;
}

/** Kept snapshots, oldest first. */
export function keptSnapshots({snapshots}: Superblock): Snapshot[] {
	return snapshots.filter((snapshot): snapshot is Snapshot => snapshot?.keep === true).sort((a, b) => a.root.generation - b.root.generation);
}

/** Generations that hold blocks in the pool. */
export function keptGenerations(superblock: Superblock): Generation[] {
	return keptSnapshots(superblock).map(({root}) => root.generation);
}

/** The slot of the next current snapshot: a kept one stays where and what it is. */
function nextCurrentSlot({snapshots, currentSnapshot}: Superblock): number {
	if (!snapshots[currentSnapshot]?.keep) {
		return currentSnapshot;
	}

	const unused = snapshots.findIndex(snapshot => !snapshot?.keep);
	if (unused === -1) {
		throw new Error(`all snapshot slots are kept; only ${keptSnapshotCountMax} may be`);
	}

	return unused;
}

/**
 * The superblock that secures `generation`. Of the snapshots only the kept ones and the new current one remain: a
 * crash before the trust anchor knows this superblock falls back to the previous one, whose blocks are all still there.
 */
export function securedSuperblock(superblock: Superblock, generation: Generation, {tree, freeTree, metaTree}: StoredTrees): Superblock {
	const slot = nextCurrentSlot(superblock);
	const snapshots = superblock.snapshots.map(snapshot => snapshot?.keep ? snapshot : undefined);
	snapshots[slot] = {root: {...tree.root, generation}, leafCount: tree.leafCount, maxLevel: tree.maxLevel, keep: false};
	return {...superblock, snapshots, currentSnapshot: slot, lastSecuredGeneration: generation, freeTree, metaTree};
}

/** The tree of a snapshot of this superblock. */
export function treeOf({degree}: Superblock, {root, leafCount, maxLevel}: Snapshot): TreeRoot {
	return {root, leafCount, maxLevel, degree};
}
