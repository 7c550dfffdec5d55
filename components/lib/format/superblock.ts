/**
 * The superblock: the root of everything, in one of eight slots at the beginning of the medium (format section 2).
 *
 * The original leaves the bytes from 3713 on zero. A container with a cipher that the original does not know says so
 * there, so that each reader refuses what it does not understand:
 *
 *     3713  8   magic "CBE ext\0"
 *     3721  4   version of this extension, 1 or 2
 *     3725  4   number of the cipher (components/sessions/cipher.ts)
 *     3729 16   container id, random
 *     3745  8   blocks that the current key has sealed at most, where the cipher is an authenticated one; else 0
 *     3753  8   the same for the previous key
 *     3761  8   first PBA of the flush log (flush-log.ts), where there is one
 *     3769  4   its number of blocks; 0 where there is none
 * 3773  4   how inner blocks lie on the medium: 0 as they are, 1 encrypted (inner-blocks.ts), and then there is no log
 *
 *     3777  4   version 2: features that a reader has to know (`featureBits`)
 * 3781 72   with implied inner blocks: the fresh trees, device, free tree and meta tree, of each: number of leaves,
 * first
 *               PBA of its inner blocks, first PBA of its leaves (fresh-layout.ts); else 0
 *     3853  8   with snapshot names: first of the two places of the snapshot directory (snapshot-directory.ts); else 0
 *     3861  4   the place that counts, 0 or 1
 *     3865 32   SHA-256 of the block there; zeroes where no snapshot has a name
 *     3897      zeroes
 *     4064 32   version 2: authenticator of everything before (superblock-authenticator.ts)
 *
 * A container keeps the version that it was created with: version 1 has neither features nor an authenticator.
 */
import type {CipherName} from '../../sessions/cipher.js';
import type {FreshTree, RootNode} from '../../sessions/tree-root.js';
import type {Generation, KeyId, Pba, Vba} from '../../sessions/vocabulary.js';
import type {FreshTrees} from './fresh-layout.js';
import {superblockSlotCount} from './geometry.js';

export const snapshotSlotCount = 48;

/** Slots that snapshots of the user may occupy; two are needed for the current state and the last secured one. */
export const keptSnapshotCountMax = 46;

/** States by the number on the medium; 0 marks a slot that holds no superblock. */
export const states = {
	/** No operation is pending. */
	normal: 1,
	/** VBAs below `rekeyingVba` are sealed with the current key, the others with the previous one. */
	rekeying: 2,
	/** `resizing` PBAs are still to be added to the virtual block device. */
	extending_vbd: 3,
	/** `resizing` PBAs are still to be added to the free tree. */
	extending_ft: 4,
} as const;

export type State = keyof typeof states;

/** What a reader has to know before it may use the container, by the bit in the extension's features. */
export const featureBits = {
	/** Inner blocks below which nothing was ever changed need not lie on the medium (fresh-layout.ts). */
	implied_inner_blocks: 1,
	/** A leaf that was written and has a label of zeroes reads as zeroes; its block may still be a snapshot's. */
	emptied_leaves: 2,
	/** There are two places for a block with the names of the snapshots (snapshot-directory.ts). */
	snapshot_names: 4,
} as const satisfies Readonly<Record<string, number>>;

export type Feature = keyof typeof featureBits;

export interface Key {
	/** The block key, encrypted by the trust anchor. */
	readonly wrapped: Uint8Array;
	readonly id: KeyId;
}

export interface Snapshot {
	readonly root: RootNode;
	readonly leafCount: number;
	readonly maxLevel: number;
	readonly keep: boolean;
	/** When it was taken, in seconds since 1970; undefined where that is not known, as in the original's containers. */
	readonly time?: number | undefined;
	/** Undefined where it has none, or where the snapshot directory has not been read. */
	readonly name?: string | undefined;
}

export interface PoolRoot {
	readonly root: RootNode;
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
	readonly fresh?: FreshTree | undefined;
}

export interface Superblock {
	readonly state: State;
	readonly rekeyingVba: Vba;
	readonly resizing: {readonly pbaCount: number; readonly leafCount: number};
	readonly previousKey: Key | undefined;
	readonly currentKey: Key;
	/** 48 slots; undefined where no valid snapshot is. */
	readonly snapshots: ReadonlyArray<Snapshot | undefined>;
	readonly currentSnapshot: number;
	readonly lastSecuredGeneration: Generation;
	readonly degree: number;
	readonly firstPba: Pba;
	readonly pbaCount: number;
	readonly freeTree: PoolRoot;
	readonly metaTree: PoolRoot;
	readonly cipher: CipherName;
	/** Undefined in containers that the original could have made. */
	readonly containerId: Uint8Array | undefined;
	/** Blocks that the keys of an authenticated cipher have sealed, at most; undefined for other ciphers. */
	readonly sealedBlockCounts?: {readonly current: number; readonly previous: number} | undefined;
	/** Undefined where inner blocks lie on the medium as they are. */
	readonly innerBlocks?: 'encrypted' | undefined;
	/**
	 * Undefined where the superblock carries no authenticator: with version 1 of the extension, and in the original's
	 * containers.
	 */
	readonly features?: readonly Feature[] | undefined;
	/** Where the trees lay when the container was created; undefined where every inner block lies on the medium. */
	readonly fresh?: FreshTrees | undefined;
	/** Undefined where every flush secures the whole state, as in the original's containers. */
	readonly flushLog?: FlushLogArea | undefined;
	/** Undefined where snapshots have no names. */
	readonly snapshotDirectory?: SnapshotDirectoryPlace | undefined;
}

/** Blocks of the snapshot directory, in use in turn. */
export const snapshotDirectoryBlockCount = 2;

/** Where the names of the snapshots lie. */
export interface SnapshotDirectoryPlace {
	/** The first of the two places. */
	readonly firstPba: Pba;
	/** The one that counts. */
	readonly place: 0 | 1;
	/** Of the block there; zeroes where no snapshot has a name. */
	readonly hash: Uint8Array;
}

/** Blocks behind the superblocks that belong to no tree. */
export function reservedBlockCount({flushLog, snapshotDirectory}: Superblock): number {
	return (flushLog?.blockCount ?? 0) + (snapshotDirectory ? snapshotDirectoryBlockCount : 0);
}

/** The blocks of the flush log. */
export interface FlushLogArea {
	readonly firstPba: Pba;
	readonly blockCount: number;
}

export const containerIdLength = 16;
/** More blocks than this would make opening after a crash slow. */
export const flushLogBlockCountMax = 4096;

/**
 * True where a rekeying is under way and the key before it was never stored: the original writes 32 zero bytes in its
 * place. Blocks from the rekeying VBA on can then be opened by nobody.
 */
export function hasLostPreviousKey({state, previousKey}: Superblock): boolean {
	return state === 'rekeying' && previousKey?.wrapped.every(byte => byte === 0) === true;
}

/**
 * No block that the superblock refers to is of a newer generation. The original secures its generation minus one where
 * it has just created a snapshot; an older version of ours left the newest snapshot behind its pool trees.
 */
export function newestGenerationOf({
	snapshots,
	currentSnapshot,
	lastSecuredGeneration,
	freeTree,
	metaTree,
}: Superblock): Generation {
	return Math.max(
		snapshots[currentSnapshot]?.root.generation ?? 0,
		lastSecuredGeneration,
		freeTree.root.generation,
		metaTree.root.generation,
	);
}

/** The slot to write after `slot`. */
export function nextSlot(slot: number): number {
	return (slot + 1) % superblockSlotCount;
}
