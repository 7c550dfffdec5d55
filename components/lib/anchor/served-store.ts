/** What a trust anchor brings to the service: a place for its content, and the errors of that place. */
import {type z} from 'zod';
import {SessionError} from '../../../runtime/sdk/session.js';
import {type trustAnchor} from '../../sessions/trust-anchor.js';
import type {MasterKey} from './master-keys.js';

/** What the anchor remembers about the newest superblock. */
export type SecuredRecord = z.output<typeof trustAnchor.ops.secure.request>;

/** What the anchor remembers beside that. */
export type RecordMarks = z.output<typeof trustAnchor.ops.marks.reply>;

/** Of an anchor that has secured nothing yet. */
export const freshMarks: RecordMarks = {intended: null, announces: true, authenticated: false};

/**
 * What a store found: the master keys, newest first, which from now on are the service's to wipe, and the newest
 * record.
 */
export interface AnchorContent {
	readonly masterKeys: readonly MasterKey[];
	readonly secured: SecuredRecord | null;
	readonly marks: RecordMarks;
}

/** A passphrase with a name for people, which is no secret. */
export interface NamedSecret {
	readonly secret: Uint8Array;
	readonly name: string;
	/** Bytes of memory that one guess of it shall take, where that was asked for. */
	readonly memory?: number;
}

/**
 * Where an anchor keeps its content. Calls never overlap; all throw SessionErrors that name the file and the remedy.
 */
export interface AnchorStore {
	/**
	 * Reads and checks everything and changes nothing, but makes durable what it found: a run that was cut off may have
	 * left it in memory alone. Undefined where `initialize` has never succeeded. Without a secret
	 * it takes what the configuration names, and throws `locked` where that opens nothing. The secret stays the
	 * caller's.
	 * @throws StartError where another anchor uses the same files, too
	 */
	load(secret?: Uint8Array): Promise<AnchorContent | undefined>;
	/** Stores the master key, durably, all or nothing. Key and passphrase stay the caller's. */
	initialize(masterKey: Uint8Array, passphrase?: NamedSecret): Promise<void>;
	/** Stores other master keys, durably, all or nothing; false where the anchor's format holds one for good. */
	renew?(masterKeys: readonly MasterKey[]): Promise<boolean>;
	/**
	 * What stays the same secret for good, once the content is loaded; the master key where it is left out. The store
	 * wipes it.
	 */
	lasting?(): Uint8Array;
	/**
	 * Replaces the newest record, durably; a crash leaves the old one or the new one.
	 * @throws UncertainRecord where the record may have been written or not; any other SessionError where nothing was
	 */
	secure(record: SecuredRecord, marks: RecordMarks): Promise<void>;
	/** Replaces the marks in the same way; the record stays. */
	intend(record: SecuredRecord | null, marks: RecordMarks): Promise<void>;
	/** Forgets what it derived from the master key and closes its files. */
	close(): Promise<void>;
}

/** Nobody knows which record the medium holds now, so none may be told before the next start has read it. */
export class UncertainRecord extends SessionError {
	constructor(message: string) {
		super('storage_failed', message);
	}
}
