/** Pure steps from one superblock to the next. */
import type {Generation, Pba, Vba} from '../sessions/vocabulary.js';
import {innerBlockCount} from '../lib/format/geometry.js';
import {
	hasLostPreviousKey,
	keptSnapshotCountMax,
	newestGenerationOf,
	type Key,
	type Snapshot,
	type Superblock,
} from '../lib/format/superblock.js';
import type {TreeRoot} from '../sessions/tree-root.js';

/** The trees of one consistent state, as they lie on the medium. */
export interface StoredTrees {
	readonly tree: TreeRoot;
	readonly freeTree: TreeRoot;
	readonly metaTree: TreeRoot;
	/** Kept snapshots whose trees a rekeying has changed, by name. */
	readonly snapshots: ReadonlyArray<{readonly generation: Generation; readonly tree: TreeRoot}>;
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
	return newestGenerationOf(superblock) + 1;
}

/** Kept snapshots, oldest first. */
export function keptSnapshots({snapshots}: Superblock): Snapshot[] {
	return snapshots
		.filter((snapshot): snapshot is Snapshot => snapshot?.keep === true)
		.sort((a, b) => a.root.generation - b.root.generation);
}

/** Generations that hold blocks in the pool. */
export function keptGenerations(superblock: Superblock): Generation[] {
	return keptSnapshots(superblock).map(({root}) => root.generation);
}

/** The keys of the blocks, by VBA. */
export function keysOf(superblock: Superblock) {
	const {currentKey, previousKey, rekeyingVba} = superblock;
	const isPreviousKeyLost = hasLostPreviousKey(superblock);
	return {
		currentKeyId: currentKey.id,
		previousKeyId: previousKey?.id ?? 0,
		rekeyingVba,
		...(isPreviousKeyLost && {isPreviousKeyLost}),
	};
}

/** Of the pool, no more than this part is set aside, but for what a single trim needs. */
const setAsidePart = 1 / 8;

/**
 * Blocks of the pool that data may not take: with leaves that can be emptied a trim needs no others than the tree's
 * own, and each of those only once as long as the snapshots stay the same. An extension may have added levels that a
 * small pool was not made for: what a single block needs when it is written, itself and the way to it, is never set
 * aside.
 */
export function setAsideCount(superblock: Superblock): number {
	if (!superblock.features?.includes('emptied_leaves')) {
		return 0;
	}

	const {leafCount, maxLevel} = currentSnapshotOf(superblock);
	const {leafCount: poolLeafCount} = superblock.freeTree;
	const wanted = Math.min(
		innerBlockCount({leafCount, maxLevel, degree: superblock.degree}),
		Math.max(maxLevel, Math.floor(setAsidePart * poolLeafCount)),
	);
	return Math.max(0, Math.min(wanted, poolLeafCount - (maxLevel + 1)));
}

/** What the free tree has to know of a secured superblock. */
export function horizonOf(superblock: Superblock) {
	const {previousKey, rekeyingVba, lastSecuredGeneration} = superblock;
	return {
		setAsideCount: setAsideCount(superblock),
		lastSecuredGeneration,
		snapshotGenerations: keptGenerations(superblock),
		rekeying: previousKey ? {previousKeyId: previousKey.id, rekeyingVba} : null,
	};
}

/**
 * True where content that changes finds a snapshot slot for the state that it makes. The original keeps 48 snapshots,
 * the current state among them, and then has none: nothing may change before one is discarded.
 */
export function hasSlotForChange({snapshots, currentSnapshot}: Superblock): boolean {
	return snapshots[currentSnapshot]?.keep !== true || snapshots.some(snapshot => !snapshot?.keep);
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
 *
 * The current tree has a root block of this generation where a kept snapshot had the same one: a second record with a
 * newer generation for the same root block would make the block look younger than the snapshot when it is freed. Only
 * where the pool had no room for it, the snapshot remains the current one under its own generation.
 */
export function securedSuperblock(
	superblock: Superblock,
	generation: Generation,
	{tree, freeTree, metaTree, snapshots: rekeyed}: StoredTrees,
): Superblock {
	const snapshots = superblock.snapshots.map(snapshot => (snapshot?.keep ? withTree(snapshot, rekeyed) : undefined));
	const current = currentSnapshotOf(superblock);
	const unchanged = current.keep && current.root.address === tree.root.address;
	const slot = unchanged ? superblock.currentSnapshot : nextCurrentSlot(superblock);
	if (!unchanged) {
		snapshots[slot] = {
			root: {...tree.root, generation},
			leafCount: tree.leafCount,
			maxLevel: tree.maxLevel,
			keep: false,
		};
	}

	return {
		...superblock,
		snapshots,
		currentSnapshot: slot,
		lastSecuredGeneration: generation,
		freeTree,
		metaTree,
	};
}

/** A kept snapshot with the place and hash that a rekeying has given its root. */
function withTree(snapshot: Snapshot, rekeyed: StoredTrees['snapshots']): Snapshot {
	const changed = rekeyed.find(({generation}) => generation === snapshot.root.generation);
	return changed ? {...snapshot, root: {...changed.tree.root, generation: snapshot.root.generation}} : snapshot;
}

function withSlot(superblock: Superblock, slot: number, snapshot: Snapshot | undefined): Superblock {
	return {...superblock, snapshots: superblock.snapshots.map((other, i) => (i === slot ? snapshot : other))};
}

/**
 * The same state with the current snapshot kept, from that time on. Versions of the superblock that know no times have
 * none.
 */
export function withCurrentKept(
	superblock: Superblock,
	{name, time}: Pick<Snapshot, 'name' | 'time'> = {},
): Superblock {
	const {root, leafCount, maxLevel} = currentSnapshotOf(superblock);
	const hasTime = superblock.features !== undefined && time !== undefined;
	return withSlot(superblock, superblock.currentSnapshot, {
		root,
		leafCount,
		maxLevel,
		keep: true,
		...(hasTime && {time}),
		...(name !== undefined && {name}),
	});
}

/** The same state with the kept snapshot of that generation called so. */
function withName(superblock: Superblock, generation: Generation, name: string): Superblock {
	return {
		...superblock,
		snapshots: superblock.snapshots.map(snapshot =>
			snapshot?.keep && snapshot.root.generation === generation ? {...snapshot, name} : snapshot,
		),
	};
}

/**
 * The same state without the kept snapshot of that generation; where it is the current content it only loses its mark,
 * its time and its name.
 */
export function withoutKept(superblock: Superblock, generation: Generation): Superblock {
	const slot = superblock.snapshots.findIndex(snapshot => snapshot?.keep && snapshot.root.generation === generation);
	if (slot === -1) {
		return superblock;
	}

	const {root, leafCount, maxLevel} = currentSnapshotOf(superblock);
	return withSlot(
		superblock,
		slot,
		slot === superblock.currentSnapshot ? {root, leafCount, maxLevel, keep: false} : undefined,
	);
}

/** True where an extension has not ended, beside a rekeying perhaps. */
export function isGrowing({resizing: {pbaCount, leafCount}}: Superblock): boolean {
	return pbaCount > 0 || leafCount > 0;
}

/** A change of the superblock beside that of its trees, for the next checkpoint to make. */
export type SuperblockEdit =
	/** Nothing but the trees has changed. */
	| {readonly kind: 'trees_only'}
	/** Keeps the current content, unless it is kept already or no further snapshot can be. */
	| {readonly kind: 'keep_current'; readonly name: string | undefined; readonly time: number | undefined}
	| {readonly kind: 'name_snapshot'; readonly generation: Generation; readonly name: string}
	| {readonly kind: 'discard_snapshot'; readonly generation: Generation}
	| {readonly kind: 'begin_extension'; readonly tree: 'vbd' | 'ft'; readonly blockCount: number}
	/** Blocks up to `pbaCount` belong to the container now. */
	| {readonly kind: 'extend'; readonly pbaCount: Pba; readonly resizing: Superblock['resizing']}
	| {readonly kind: 'end_extension'}
	/** The current key becomes the previous one. */
	| {readonly kind: 'begin_rekeying'; readonly key: Key}
	/** Every leaf before this one has the current key. */
	| {readonly kind: 'rekey'; readonly rekeyingVba: Vba}
	/** Every leaf has the current key. */
	| {readonly kind: 'end_rekeying'};

/** The superblock with the edit; itself where there is nothing to do. */
export function edited(superblock: Superblock, edit: SuperblockEdit): Superblock {
	switch (edit.kind) {
		case 'trees_only': {
			return superblock;
		}

		case 'keep_current': {
			const isFull = keptSnapshots(superblock).length >= keptSnapshotCountMax;
			return isFull || currentSnapshotOf(superblock).keep ? superblock : withCurrentKept(superblock, edit);
		}

		case 'name_snapshot': {
			return withName(superblock, edit.generation, edit.name);
		}

		case 'discard_snapshot': {
			return withoutKept(superblock, edit.generation);
		}

		case 'begin_extension': {
			// Beside a rekeying only the pool grows.
			const state =
				superblock.state === 'rekeying' ? 'rekeying' : edit.tree === 'vbd' ? 'extending_vbd' : 'extending_ft';
			return {...superblock, state, resizing: {pbaCount: edit.blockCount, leafCount: 0}};
		}

		case 'extend': {
			return {...superblock, pbaCount: edit.pbaCount, resizing: edit.resizing};
		}

		case 'end_extension': {
			return {
				...superblock,
				state: superblock.state === 'rekeying' ? 'rekeying' : 'normal',
				resizing: {pbaCount: 0, leafCount: 0},
			};
		}

		case 'begin_rekeying': {
			return {
				...superblock,
				state: 'rekeying',
				rekeyingVba: 0,
				previousKey: superblock.currentKey,
				currentKey: edit.key,
			};
		}

		case 'rekey': {
			return {...superblock, rekeyingVba: edit.rekeyingVba};
		}

		case 'end_rekeying': {
			// The pool may be growing meanwhile.
			return {
				...superblock,
				state: isGrowing(superblock) ? 'extending_ft' : 'normal',
				rekeyingVba: 0,
				previousKey: undefined,
			};
		}
	}
}

/** The tree of a snapshot of this superblock. */
export function treeOf({degree, fresh}: Superblock, {root, leafCount, maxLevel}: Snapshot): TreeRoot {
	return {root, leafCount, maxLevel, degree, ...(fresh && {fresh: fresh.virtualBlockDevice})};
}
