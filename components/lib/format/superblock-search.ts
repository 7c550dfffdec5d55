/** Where a superblock is looked for: the slots, what the trust anchor keeps, and what lies beyond that. */
import type {FlushesAhead, LogEntry} from './flush-log.js';
import {SuperblockError} from './superblock-fields.js';
import {isUnusedSlot, decodeSuperblock} from './superblock-codec.js';
import type {Superblock} from './superblock.js';
import {labelOf} from './label.js';

/** What the trust anchor keeps about the newest superblock, as its session hands it out. */
export interface Secured {
	readonly hash: Uint8Array;
	/** Null where the anchor's format does not record it. */
	readonly generation: number | null;
	/** The container was being created: its first superblock may not have arrived on the medium. */
	readonly creating: boolean;
}
export type ContainerErrorKind =
	/** No slot holds a superblock. */
	| 'no_container'
	/** The container was never completed; there is no data in it yet. */
	| 'creation_interrupted'
	/** The image is an older state than the anchor's. */
	| 'rolled_back'
	/** The anchor is an older state than the image's. */
	| 'anchor_older'
	/** Image and anchor do not belong together. */
	| 'foreign'
	/** One of the two; the anchor does not record generations. */
	| 'rolled_back_or_foreign'
	/** A superblock that matters cannot be understood. */
	| 'damaged'
	/** The medium ends before the container does. */
	| 'truncated'
	/** A container shall be created where one may be already. */
	| 'occupied'
	/** The medium cannot take the container that shall be created. */
	| 'unsuitable_medium'
	/** There is no snapshot of that name. */
	| 'no_snapshot';

/** Why a container cannot be opened or created; the message is for the user and says what to do. */
export class ContainerError extends Error {
	override readonly name = 'ContainerError';

	constructor(
		readonly kind: ContainerErrorKind,
		message: string,
	) {
		super(message);
	}
}

/** A superblock that is newer than what the trust anchor keeps. */
export interface NewerSuperblock {
	readonly slot: number;
	readonly generation: number;
	/** It carries this anchor's authenticator. */
	readonly isAuthentic: boolean;
	/** The trust anchor said that it was about to be written. */
	readonly isAnnounced: boolean;
}

/** What lies on the medium beyond the state that the trust anchor keeps. */
export interface Beyond {
	/** Without the base that the anchor keeps: all that are not older than it. */
	readonly superblocks: readonly NewerSuperblock[];
	/** Behind the anchored state, or behind the superblock that was announced. */
	readonly flushes: FlushesAhead;
	readonly areFlushesAuthentic: boolean;
	/** Whoever wrote the record announces superblocks. */
	readonly announces: boolean;
	/**
	 * A superblock was announced and is not there, or in part: what is written over its rest, and torn, might make it
	 * whole after the next one was announced.
	 */
	readonly isAnnouncementOpen: boolean;
}

/** The flush log whose newest entry is the one that the anchor keeps. */
export interface AnchoredLog {
	/** Slot of the superblock before the first entry. */
	readonly slot: number;
	readonly entries: readonly LogEntry[];
}

/** A slot that says it holds a superblock. */
type ReadSlot =
	{readonly slot: number; readonly superblock: Superblock} | {readonly slot: number; readonly fault: string};

export interface SuperblockSearch {
	/** The eight slots, 4096 bytes each. */
	readonly slots: readonly Uint8Array[];
	/** Null where the anchor has never secured a superblock. */
	readonly secured: Secured | null;
	/** Undefined where the anchor keeps no entry of a log. */
	readonly log: AnchoredLog | undefined;
	readonly mediumBlockCount: number;
	/** What is stored on the medium ends with whoever provides it. */
	readonly isVolatile?: boolean;
	/** Undefined where the anchor has secured nothing. */
	readonly beyond?: Beyond;
}

/** Decodes one slot; undefined where it holds no superblock. */
export function readSlot(slots: readonly Uint8Array[], slot: number): ReadSlot | undefined {
	if (isUnusedSlot(slots[slot])) {
		return undefined;
	}

	try {
		return {slot, superblock: decodeSuperblock(slots[slot])};
	} catch (error) {
		if (error instanceof SuperblockError) {
			return {slot, fault: error.message};
		}

		throw error;
	}
}

/** The slot whose hash the anchor keeps. */
export function anchoredSlot(slots: readonly Uint8Array[], secured: Secured | null): number | undefined {
	const slot = secured ? slots.findIndex(block => labelOf(block).equals(secured.hash)) : -1;
	return slot === -1 ? undefined : slot;
}
