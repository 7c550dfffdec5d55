/**
 * The anchor's directory as the original lays it out: `encrypted_private_key` and `superblock_hash`. While a container
 * is being created its first hash lies in a file of our own, `superblock_hash.creating` (all zero before the first
 * superblock), so that a crash in between can be told from a lost hash. `encrypted_private_key` appears last.
 * `superblock_hash.announced` is ours, too: which superblock was about to be written.
 */
import {rm} from 'node:fs/promises';
import {join} from 'node:path';
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {overwriteFile, readSmallFile, replaceFile, rewriteFile} from '../lib/host/durable-file.js';
import {AnchorDirectory} from '../lib/anchor/anchor-directory.js';
import {
	UncertainRecord,
	type AnchorContent,
	type AnchorStore,
	type RecordMarks,
	type SecuredRecord,
} from '../lib/anchor/served-store.js';
import {readPassphrase, type SourceConfig, type SourcedPassphrase} from '../lib/anchor/passphrase-source.js';
import {announcementLength, carriesMark, decodeAnnouncement, encodeAnnouncement} from './announcement.js';
import {unwrapMasterKey, wrapMasterKey, wrappedMasterKeyLength} from './passphrase-wrap.js';

const hashLength = 32;
const restoreAdvice = 'restore it from a backup of the container';

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

/** The file's content, or undefined where it is not there; any other length is damage. */
async function readExactly(path: string, length: number): Promise<Buffer | undefined> {
	let content;
	try {
		// One byte more, to notice what is too long.
		content = await readSmallFile(path, length + 1);
	} catch (error) {
		throw new SessionError(
			'damaged',
			`${path} cannot be read (${reasonOf(error)}); make it readable for the user that runs this program`,
		);
	}

	if (content && content.length !== length) {
		throw new SessionError(
			'damaged',
			`${path} must have ${length} bytes, it has ${content.length < length ? content.length : 'more'}; ${restoreAdvice}`,
		);
	}

	return content;
}

export interface TresorStoreOptions {
	readonly directory: string;
	readonly passphrase: SourceConfig;
}

export class TresorStore implements AnchorStore {
	readonly #directory: AnchorDirectory;
	readonly #keyPath: string;
	readonly #hashPath: string;
	readonly #creatingPath: string;
	readonly #announcedPath: string;
	/** What the file of announcements says, zero where there is none. */
	#announcement: Uint8Array = new Uint8Array(announcementLength);
	readonly #passphrase: SourceConfig;
	readonly #env: Environment;

	constructor({directory, passphrase}: TresorStoreOptions, env: Environment) {
		this.#directory = new AnchorDirectory(directory, env);
		this.#keyPath = join(directory, 'encrypted_private_key');
		this.#hashPath = join(directory, 'superblock_hash');
		this.#creatingPath = join(directory, 'superblock_hash.creating');
		this.#announcedPath = join(directory, 'superblock_hash.announced');
		this.#passphrase = passphrase;
		this.#env = env;
	}

	async load(secret?: Uint8Array): Promise<AnchorContent | undefined> {
		await this.#directory.claim();
		const wrapped = await readExactly(this.#keyPath, wrappedMasterKeyLength);
		const hash = await readExactly(this.#hashPath, hashLength);
		if (!wrapped) {
			if (hash) {
				throw new SessionError(
					'damaged',
					`${this.#keyPath} is missing, though ${this.#hashPath} is there; ${restoreAdvice}`,
				);
			}

			return undefined;
		}

		const secured = hash
			? {hash: Uint8Array.from(hash), generation: null, creating: false}
			: await this.#creating();
		const masterKey = secret ? this.#unlockWith(secret, wrapped, 'the passphrase') : await this.#unlock(wrapped);
		await this.#settle(hash ? this.#hashPath : this.#creatingPath);
		return {masterKeys: [{key: masterKey, wrappedHash: undefined}], secured, marks: await this.#marks(secured)};
	}

	/** What a run that was cut off has written is durable before anybody relies on it. */
	async #settle(hashPath: string): Promise<void> {
		try {
			await rewriteFile(hashPath, [{offset: 0, length: hashLength}]);
			await this.#directory.settle();
		} catch (error) {
			throw new SessionError(
				'storage_failed',
				`${hashPath} cannot be made durable (${reasonOf(error)}); restart once its file system works again`,
			);
		}
	}

	/**
	 * What does not belong to the hash, or is torn, was left behind by the original, or before anything was written.
	 */
	async #marks(secured: SecuredRecord | null): Promise<RecordMarks> {
		const content = await readSmallFile(this.#announcedPath, announcementLength);
		const marks = decodeAnnouncement(content, secured);
		if (content && marks.announces) {
			await rewriteFile(this.#announcedPath, [{offset: 0, length: announcementLength}]);
			this.#announcement = content;
		}

		return marks;
	}

	async initialize(masterKey: Uint8Array): Promise<void> {
		const passphrase = await this.#readPassphrase(false);
		try {
			await this.#directory.make();
			await replaceFile(this.#creatingPath, new Uint8Array(hashLength));
			await replaceFile(this.#keyPath, wrapMasterKey(passphrase.secret, masterKey));
		} catch (error) {
			throw new SessionError(
				'storage_failed',
				`the trust anchor cannot be made in ${this.#directory.path}: ${reasonOf(error)}`,
			);
		} finally {
			passphrase.secret.fill(0);
		}

		this.#env.log(
			"the original's form protects the master key with one unsalted hash of the passphrase; use it for exchange only",
			'warning',
		);
	}

	async intend(record: SecuredRecord | null, marks: RecordMarks): Promise<void> {
		await this.#announce(encodeAnnouncement(record, marks));
	}

	async #announce(announcement: Buffer): Promise<void> {
		if (announcement.equals(this.#announcement)) {
			return;
		}

		try {
			// In place where it can be: it costs each checkpoint, and says of itself where it is torn.
			await (this.#announcement.every(byte => byte === 0)
				? replaceFile(this.#announcedPath, announcement)
				: overwriteFile(this.#announcedPath, announcement));
			this.#announcement = announcement;
		} catch (error) {
			throw new UncertainRecord(`${this.#announcedPath} cannot be written: ${reasonOf(error)}`);
		}
	}

	async secure(record: SecuredRecord, marks: RecordMarks): Promise<void> {
		const {hash, creating} = record;
		if (!carriesMark(this.#announcement, marks)) {
			await this.#announce(encodeAnnouncement(record, marks));
		}

		try {
			if (creating) {
				await replaceFile(this.#creatingPath, hash);
			} else {
				await replaceFile(this.#hashPath, hash);
				await rm(this.#creatingPath, {force: true});
			}
		} catch (error) {
			throw new UncertainRecord(`${this.#hashPath} cannot be written: ${reasonOf(error)}`);
		}
	}

	async close(): Promise<void> {
		// Every file is closed right after its use, and the master key is not kept here.
	}

	async #creating(): Promise<SecuredRecord | null> {
		const hash = await readExactly(this.#creatingPath, hashLength);
		if (!hash) {
			throw new SessionError(
				'damaged',
				`${this.#hashPath} is missing, though ${this.#keyPath} is there; ${restoreAdvice}`,
			);
		}

		return hash.every(byte => byte === 0) ? null : {hash: Uint8Array.from(hash), generation: null, creating: true};
	}

	async #unlock(wrapped: Buffer): Promise<Buffer> {
		const {secret, origin} = await this.#readPassphrase(true);
		try {
			return this.#unlockWith(secret, wrapped, `the passphrase in ${origin}`);
		} finally {
			secret.fill(0);
		}
	}

	#unlockWith(passphrase: Uint8Array, wrapped: Buffer, name: string): Buffer {
		const masterKey = unwrapMasterKey(passphrase, wrapped);
		if (!masterKey) {
			throw new SessionError(
				'wrong_passphrase',
				`${name} does not open ${this.#keyPath}; give the right one, or restore the file if it was altered`,
			);
		}

		return masterKey;
	}

	/** The caller wipes it. @param isThere the anchor exists, and can be unlocked later */
	async #readPassphrase(isThere: boolean): Promise<SourcedPassphrase> {
		let found;
		try {
			found = await readPassphrase(this.#passphrase, this.#env);
		} catch (error) {
			throw new SessionError('wrong_passphrase', reasonOf(error));
		}

		if (!found) {
			const ways = `set the environment variable ${this.#passphrase.variable}, or name a file with --passphrase-file`;
			throw isThere
				? new SessionError(
						'locked',
						`the trust anchor is locked: no passphrase for ${this.#directory.path}; "runtime unlock" asks for it, or ${ways}`,
					)
				: new SessionError(
						'wrong_passphrase',
						`no passphrase for ${this.#directory.path}, in which the new trust anchor is to be made: ${ways}`,
					);
		}

		return found;
	}
}
