/** What the commit machine knows and says: its states, the events that it takes, and the actions that it asks for. */
import type {LeafChanges, LogForm, LogTail} from '../lib/format/flush-log.js';
import type {FlushLogArea, Superblock} from '../lib/format/superblock.js';
import type {Generation, Pba} from '../sessions/vocabulary.js';
import type {StoredTrees, SuperblockEdit} from './transition.js';
import type {SealedCounts} from './key-use.js';

/** How durable somebody wants changes to be: in log or superblock, or in a superblock. */
export type Level = 'flush' | 'checkpoint';

export interface LogState {
	readonly area: FlushLogArea;
	readonly form: LogForm;
	/** What is anchored. */
	readonly tail: LogTail;
	/** The trust anchor's key for the next flush is there. */
	readonly hasKey: boolean;
	/** False where the medium may hold a flush that the anchor does not know: what comes next is a checkpoint. */
	readonly isSettled: boolean;
	/** The log has not taken changes that it was to name: until the next trees are stored it can say nothing. */
	readonly isIncomplete: boolean;
	/**
	 * A block of the log could not be written: what is in it counts until a superblock does, and nothing more comes in.
	 */
	readonly isBroken: boolean;
}

/** An edit that waits for the next checkpoint. */
interface PendingEdit {
	/** Its number among the changes. */
	readonly change: number;
	readonly edit: SuperblockEdit;
	/** The trees have changed with it already: it stays where a checkpoint fails, and others have not happened then. */
	readonly isOfTrees: boolean;
}

/** An edit that a superblock has made. */
export interface MadeEdit {
	readonly change: number;
	readonly before: Superblock;
	readonly after: Superblock;
}

/** What every state knows. */
export interface Core {
	/** The one that the trust anchor keeps, or that the anchored log begins behind. */
	readonly superblock: Superblock;
	readonly slot: number;
	/** The superblock of the state taken last: the anchored one, or the one on its way to be. */
	readonly latest: Superblock;
	/** What is written now carries it. */
	readonly generation: Generation;
	/** What the trust anchor keeps: the superblock's hash, or that of the log's newest entry. */
	readonly anchoredHash: Uint8Array;
	/** Undefined where the container has none. */
	readonly log: LogState | undefined;
	/** A slot that has to be emptied before the trust anchor remembers anything else. */
	readonly strayedSlot: number | undefined;
	/** Changes up to these are covered: by log or superblock, and by a superblock. */
	readonly durable: Readonly<Record<Level, number>>;
	/** Changes up to these are waited for; 0 where nobody waits. */
	readonly wanted: Readonly<Record<Level, number>>;
	/** In the order of their numbers. */
	readonly edits: readonly PendingEdit[];
	/** Since the device was opened. */
	readonly counts: Readonly<Record<Level, number>>;
}

/** A state of the trees on its way to be secured. */
interface Checkpoint {
	/** Changes that it covers. */
	readonly covered: number;
	readonly superblock: Superblock;
	readonly edits: readonly MadeEdit[];
}

/** A checkpoint whose superblock is as it will lie on the medium. */
export interface SealedCheckpoint extends Checkpoint {
	/** The block with the snapshots' names, where it has changed. */
	readonly directory: {readonly address: Pba; readonly data: Uint8Array} | undefined;
	readonly slot: number;
	readonly block: Uint8Array;
	readonly hash: Uint8Array;
}
export type CommitState = {readonly core: Core} &
	/** Nobody waits for anything. */
	(
		| {readonly kind: 'idle'}
		/** Waits until trees and superblock stand still. */
		| {readonly kind: 'locking'}
		/** The device is asked for what the log can say. From then on it writes none of that in place. */
		| {readonly kind: 'taking'; readonly covered: number}
		/** Changed inner blocks of all trees are written. */
		| {readonly kind: 'storing'; readonly covered: number}
		/** Entries are written behind the log's tail, and they and the data become durable. */
		| {readonly kind: 'appending'; readonly covered: number}
		| {readonly kind: 'anchoring_flush'; readonly covered: number; readonly tail: LogTail}
		/** The superblock gets its authenticator. */
		| {readonly kind: 'sealing'; readonly checkpoint: Checkpoint}
		/**
		 * What a program that announces nothing has left is emptied: from the first announcement on it would look like
		 * a newer anchor's.
		 */
		| {readonly kind: 'emptying'; readonly sealed: SealedCheckpoint}
		| {readonly kind: 'syncing_emptied'; readonly sealed: SealedCheckpoint}
		/** The names of the snapshots are written, not in the place of those that count. */
		| {readonly kind: 'naming'; readonly sealed: SealedCheckpoint}
		/**
		 * All that the superblock refers to becomes durable, and the anchor remembers that it is about to be written.
		 */
		| {readonly kind: 'announcing'; readonly sealed: SealedCheckpoint}
		/** From here on a crash may leave the new state as well as the one before. */
		| {readonly kind: 'writing'; readonly sealed: SealedCheckpoint; readonly announcedHash: Uint8Array}
		| {readonly kind: 'syncing'; readonly sealed: SealedCheckpoint}
		| {readonly kind: 'anchoring'; readonly sealed: SealedCheckpoint}
		/** The new state counts. Slots that still name a key that it does not are emptied. */
		| {readonly kind: 'clearing_keys'; readonly sealed: SealedCheckpoint}
		/** The pool hands out what only the state before it needed. */
		| {readonly kind: 'advancing'; readonly covered: number}
		/**
		 * Only a reopening tells which state counts: a sync that succeeds after a failed one says nothing of what was
		 * written before it.
		 */
		| {readonly kind: 'interrupted'; readonly error: CommitInterrupted}
	);

/** A commit that failed half-way: only a reopening tells which state counts. */
export class CommitInterrupted extends Error {
	override readonly name = 'CommitInterrupted';
}

/** What has to be done; it is answered by one event, or by `failed`. */
export type Action =
	/** Waits until no step changes trees and superblock, and keeps others from it. */
	| {readonly kind: 'lock'}
	| {readonly kind: 'take_changes'; readonly countMax: number}
	| {readonly kind: 'store_trees'; readonly nextGeneration: Generation; readonly isRootKept: boolean}
	/** Writes entries, and then syncs. */
	| {readonly kind: 'append'; readonly log: LogState; readonly changes: LeafChanges; readonly generation: Generation}
	/** Has the superblock that follows `before` say where the snapshots' names lie, and gives it its authenticator. */
	| {readonly kind: 'seal'; readonly before: Superblock; readonly superblock: Superblock}
	| {readonly kind: 'empty_slot'; readonly slot: number}
	| {readonly kind: 'write_directory'; readonly address: Pba; readonly data: Uint8Array}
	| {readonly kind: 'write_superblock'; readonly slot: number; readonly block: Uint8Array}
	| {readonly kind: 'sync'}
	/** Syncs the medium and has the anchor remember the hash as announced, in any order. */
	| {readonly kind: 'sync_and_announce'; readonly hash: Uint8Array}
	/** Has the anchor remember the hash as the one that counts. */
	| {readonly kind: 'anchor'; readonly hash: Uint8Array; readonly generation: Generation}
	| {readonly kind: 'clear_old_keys'; readonly slot: number; readonly superblock: Superblock}
	/** Tells the pool what is secured. */
	| {readonly kind: 'advance'; readonly superblock: Superblock};

/** What has to be told, at once and before the action. */
export type Notice =
	| {readonly kind: 'unlock'}
	/** The trees of this superblock are stored: what is written from now on is of the next state. */
	| {readonly kind: 'taken'; readonly superblock: Superblock}
	| {readonly kind: 'checkpointed'; readonly superblock: Superblock; readonly edits: readonly MadeEdit[]}
	/** The pool goes by the secured superblock. */
	| {readonly kind: 'advanced'}
	/** Requests that are satisfied have their answer. */
	| {readonly kind: 'settle'}
	/** Requests of these levels for changes up to the number fail. */
	| {readonly kind: 'refuse'; readonly levels: readonly Level[]; readonly upTo: number; readonly error: unknown}
	| {readonly kind: 'interrupted'; readonly error: CommitInterrupted; readonly levels: readonly Level[]}
	| {readonly kind: 'log_broken'; readonly reason: string};

/** `change` is the number of the last change that was acknowledged. */
export type CommitEvent =
	/** Somebody waits for changes up to the number. */
	| {readonly kind: 'wanted'; readonly level: Level; readonly change: number}
	| {readonly kind: 'edited'; readonly edit: PendingEdit}
	| {readonly kind: 'flush_key'; readonly hasKey: boolean}
	| {readonly kind: 'locked'; readonly change: number}
	/** Null where the log cannot say what has changed. */
	| {readonly kind: 'changes'; readonly changes: LeafChanges | null; readonly change: number}
	| {readonly kind: 'stored'; readonly trees: StoredTrees; readonly sealedCounts: SealedCounts | undefined}
	| {readonly kind: 'appended'; readonly tail: LogTail}
	| {
			readonly kind: 'sealed';
			readonly superblock: Superblock;
			readonly directory: SealedCheckpoint['directory'];
			readonly block: Uint8Array;
			readonly hash: Uint8Array;
	  }
	| {readonly kind: 'written'}
	| {readonly kind: 'synced'}
	| {readonly kind: 'announced'}
	| {readonly kind: 'anchored'; readonly hasFlushKey: boolean}
	| {readonly kind: 'cleared'}
	| {readonly kind: 'advanced'}
	/**
	 * `code` is that of a session's error, undefined for any other. `isBeforeSync`: of what was to be written and
	 * synced the writing failed, and no sync was tried.
	 */
	| {
			readonly kind: 'failed';
			readonly error: unknown;
			readonly code: string | undefined;
			readonly isBeforeSync?: boolean;
	  };

/** The state after an event, and what it asks for: notices first, then the action, if there is one. */
export interface Transition {
	readonly state: CommitState;
	readonly notices?: readonly Notice[];
	readonly action?: Action;
}

/** Where an opened container stands. */
export interface Opened {
	readonly superblock: Superblock;
	/** The slot it lies in. */
	readonly slot: number;
	/** What the trust anchor keeps: the superblock's hash, or that of the flush log's newest entry. */
	readonly anchoredHash: Uint8Array;
	readonly currentGeneration: Generation;
	/**
	 * False where the trust anchor has given no key for the next flush: where flushes need one each is a checkpoint
	 * then.
	 */
	readonly hasFlushKey?: boolean;
	/** A slot that has to be emptied before the trust anchor remembers anything else. */
	readonly strayedSlot?: number | undefined;
	/** False where the log must not be written before a superblock was secured. */
	readonly isLogSettled?: boolean;
}
export type Answer = Exclude<CommitEvent, {kind: 'wanted' | 'edited' | 'flush_key' | 'failed'}>;
