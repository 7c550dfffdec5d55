/**
 * The anchor's directory: what opens it (`master_key`, `key_slots`, or both) and the record of the newest superblock.
 * What opens it appears last: with it the anchor exists.
 */
import {chmod, stat} from 'node:fs/promises';
import {join} from 'node:path';
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError, isSessionError} from '../../runtime/sdk/session.js';
import {readSmallFile, replaceFile, rewriteFile} from '../lib/host/durable-file.js';
import {AnchorDirectory} from '../lib/anchor/anchor-directory.js';
import type {AnchorContent, AnchorStore, NamedSecret, RecordMarks, SecuredRecord} from '../lib/anchor/served-store.js';
import type {MasterKey} from '../lib/anchor/master-keys.js';
import {copySecrets, deriveFrom, wipeSecrets, type AnchorSecrets} from './anchor-secrets.js';
import {KeyFileFault, KeyFilePair} from './key-file-pair.js';
import {isEmpty, makeSlot, resealSlot} from './key-slot.js';
import {readPassphrase, type SourceConfig, type SourcedPassphrase} from '../lib/anchor/passphrase-source.js';
import {encodeEmptyRecordFile, looksEmpty, recordFileLength, recordParts} from './record-file.js';
import {RecordStore} from './record-store.js';
import {calibrate, type Derivation} from './slot-derivation.js';
import {SlotStore, listSlots, type OpenedBy} from './slot-store.js';
import {copyParts, freshTable, type ReadSlots} from './slots-file.js';

const restoreAdvice =
	"restore the trust anchor's directory from a backup, or remove it together with the image to start anew, which loses all data";

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

function damaged(path: string, fault: string): SessionError {
	return new SessionError('damaged', `${path}: ${fault}; ${restoreAdvice}`);
}

export interface AnchorStoreOptions {
	readonly directory: string;
	readonly passphrase: SourceConfig;
	/** How long one guess of a passphrase shall take. */
	readonly unlockMs: number;
	/** Bytes of memory that it shall take; undefined: as the time allows. */
	readonly kdfMemory: number | undefined;
}

/** What is in the directory and can be opened. The caller wipes the secrets. */
export interface OpenedAnchor extends OpenedBy {
	/** Undefined where the key file alone is what there is. */
	readonly table: ReadSlots | undefined;
}

export class FileAnchorStore implements AnchorStore {
	readonly directory: AnchorDirectory;
	readonly keyFile: KeyFilePair;
	readonly slots: SlotStore;
	readonly #unlockMs: number;
	readonly #kdfMemory: number | undefined;
	readonly #recordPath: string;
	readonly #record: RecordStore;
	readonly #passphrase: SourceConfig;
	readonly #env: Environment;
	/** While the anchor is open: what vouches for slots. */
	#authority: Buffer | undefined;

	constructor({directory, passphrase, unlockMs, kdfMemory}: AnchorStoreOptions, env: Environment) {
		this.directory = new AnchorDirectory(directory, env);
		this.keyFile = new KeyFilePair(join(directory, 'master_key'));
		this.slots = new SlotStore(join(directory, 'key_slots'));
		this.#unlockMs = unlockMs;
		this.#kdfMemory = kdfMemory;
		this.#recordPath = join(directory, 'newest_superblock');
		this.#record = new RecordStore(this.#recordPath, env);
		this.#passphrase = passphrase;
		this.#env = env;
	}

	async load(secret?: Uint8Array): Promise<AnchorContent | undefined> {
		await this.directory.claim();
		const record = await this.#readRecord();
		if (!(await this.#exists(record))) {
			return undefined;
		}

		const opened = await this.open(secret);
		try {
			if (!record) {
				throw damaged(
					this.#recordPath,
					`the record of the newest superblock is missing, though ${opened.table ? this.slots.path : this.keyFile.path} is there`,
				);
			}

			const {secured, marks} = this.#openRecord(opened, record);
			await this.write(async () => this.#settle(opened));
			await this.#tidy(opened);
			return {masterKeys: this.#keep(opened), secured, marks};
		} finally {
			wipeSecrets(opened.secrets);
		}
	}

	async initialize(masterKey: Uint8Array, passphrase?: NamedSecret): Promise<void> {
		let source: SourcedPassphrase | undefined;
		try {
			source = passphrase ? undefined : await readPassphrase(this.#passphrase, this.#env);
			await this.directory.make();
			await this.#make(masterKey, passphrase ?? (source && {secret: source.secret, name: ''}));
		} catch (error) {
			throw new SessionError(
				'storage_failed',
				`the trust anchor cannot be made in ${this.directory.path}: ${reasonOf(error)}`,
			);
		} finally {
			source?.secret.fill(0);
		}
	}

	async renew(masterKeys: readonly MasterKey[]): Promise<boolean> {
		const table = await this.slots.read();
		if (!table || !this.#authority) {
			return false;
		}

		const secrets = {authority: this.#authority, masterKeys};
		this.slots.requireAuthentic(table, secrets);
		await this.write(async () =>
			this.slots.update(
				table,
				table.slots.map(slot =>
					isEmpty(slot) ? slot : resealSlot(slot, secrets, count => this.#env.randomBytes(count)),
				),
			),
		);
		return true;
	}

	lasting(): Uint8Array {
		if (!this.#authority) {
			throw new Error('the trust anchor is not open');
		}

		return this.#authority;
	}

	async secure(secured: SecuredRecord, marks: RecordMarks): Promise<void> {
		await this.#record.write(secured, marks);
	}

	async intend(secured: SecuredRecord | null, marks: RecordMarks): Promise<void> {
		await this.#record.write(secured, marks);
	}

	async close(): Promise<void> {
		this.#authority?.fill(0);
		this.#authority = undefined;
		await this.#record.close();
	}

	/**
	 * Opens with the secret; without one with the key file, else with what the configuration names.
	 * @throws SessionError `wrong_passphrase`, `damaged`; `locked` where no secret is given and nothing else opens it
	 */
	async open(secret: Uint8Array | undefined): Promise<OpenedAnchor> {
		const table = await this.slots.read();
		if (!table) {
			const key = await this.#readKeyFile();
			return {
				secrets: {authority: Buffer.from(key), masterKeys: [{key, wrappedHash: undefined}]},
				index: 0,
				table,
			};
		}

		const opened = secret
			? await this.slots.openWith(table, secret, 'the passphrase')
			: ((await this.#openByKeyFile(table)) ?? (await this.#openBySource(table)));
		return {...opened, table};
	}

	/** What a guess of a new passphrase shall cost. @param memory as it was asked for, in bytes */
	async costOfGuess(memory?: number, replaced?: Derivation): Promise<Derivation> {
		try {
			return await calibrate({targetMs: this.#unlockMs, memory: memory ?? this.#kdfMemory, replaced});
		} catch (error) {
			throw new SessionError('storage_failed', reasonOf(error));
		}
	}

	/** There are key slots from now on. */
	noteSlots(): void {
		this.#record.hasSlots = true;
	}

	/** A change of the anchor's files; what fails of it is an error of its storage. */
	async write(job: () => Promise<void>): Promise<void> {
		try {
			await job();
		} catch (error) {
			throw isSessionError(error)
				? error
				: new SessionError(
						'storage_failed',
						`the trust anchor in ${this.directory.path} cannot be written: ${reasonOf(error)}`,
					);
		}
	}

	/** False where `initialize` never succeeded; it leaves an empty record at most where it was interrupted. */
	async #exists(record: Buffer | undefined): Promise<boolean> {
		const isThere = async (path: string) =>
			stat(path).then(
				() => true,
				() => false,
			);
		if ((await isThere(this.keyFile.path)) || (await isThere(this.slots.path))) {
			return true;
		}

		if (record && !looksEmpty(record)) {
			throw damaged(
				this.keyFile.path,
				`the key file is missing, and so are key slots, though ${this.#recordPath} is there`,
			);
		}

		return false;
	}

	async #readRecord(): Promise<Buffer | undefined> {
		try {
			// One byte more, to notice what is too long.
			return await readSmallFile(this.#recordPath, recordFileLength + 1);
		} catch (error) {
			throw new SessionError(
				'damaged',
				`${this.#recordPath} cannot be read (${reasonOf(error)}); make it readable for the user that runs this program`,
			);
		}
	}

	async #readKeyFile(): Promise<Buffer> {
		try {
			const key = await this.keyFile.read();
			if (key) {
				return key;
			}
		} catch (error) {
			if (error instanceof KeyFileFault) {
				throw new SessionError('damaged', `${error.message}; ${restoreAdvice}`);
			}

			throw error;
		}

		throw damaged(this.keyFile.path, 'the key file is missing');
	}

	async #openByKeyFile(table: ReadSlots): Promise<OpenedBy | undefined> {
		if (!listSlots(table).some(({description}) => description?.kind === 'key_file')) {
			return undefined;
		}

		for (const read of [async () => this.keyFile.read(), async () => this.keyFile.readNext()]) {
			let key: Buffer | undefined;
			try {
				key = await read();
				const opened = key && (await this.slots.open(table, key, ['key_file']));
				if (opened && opened !== 'wrong') {
					return opened;
				}
			} catch (error) {
				if (!(error instanceof KeyFileFault)) {
					throw error;
				}

				this.#env.log(error.message, 'warning');
			} finally {
				key?.fill(0);
			}
		}

		return undefined;
	}

	async #openBySource(table: ReadSlots): Promise<OpenedBy> {
		let source: SourcedPassphrase | undefined;
		try {
			source = await readPassphrase(this.#passphrase, this.#env);
		} catch (error) {
			throw new SessionError('locked', `the trust anchor is locked: ${reasonOf(error)}`);
		}

		if (!source) {
			throw new SessionError(
				'locked',
				`the trust anchor is locked: ${this.slots.path} needs a passphrase; "runtime unlock" asks for it, or set the environment variable ${this.#passphrase.variable}`,
			);
		}

		try {
			return await this.slots.openWith(table, source.secret, `the passphrase in ${source.origin}`);
		} catch (error) {
			throw isSessionError(error) && error.code === 'wrong_passphrase'
				? new SessionError('locked', `the trust anchor is locked: ${error.message}`)
				: error;
		} finally {
			source.secret.fill(0);
		}
	}

	#openRecord({secrets, table}: OpenedAnchor, content: Buffer): {secured: SecuredRecord | null; marks: RecordMarks} {
		const record = this.#record.open(content, deriveFrom(secrets.authority, 'record'));
		if (!record) {
			throw damaged(
				this.#recordPath,
				`it was not written with the key in ${table ? this.slots.path : this.keyFile.path}, or was altered or cut off`,
			);
		}

		if (record.hadSlots && !table) {
			throw damaged(
				this.slots.path,
				'the key slots are missing; the key file alone may not hold the newest master key',
			);
		}

		if (record.copyLost) {
			this.#env.log(
				`${this.#recordPath}: one copy of a record is unreadable, as after an interrupted write; another one is used`,
				'warning',
			);
		}

		this.#record.hasSlots = table !== undefined;
		return record;
	}

	/**
	 * What a run that was cut off has written is durable before anybody relies on it, and so are the names of the
	 * files.
	 */
	async #settle({table}: OpenedAnchor): Promise<void> {
		await rewriteFile(this.#recordPath, recordParts);
		if (table) {
			await rewriteFile(this.slots.path, copyParts);
		}

		await this.directory.settle();
	}

	/** Ends what an interruption has left half done. */
	async #tidy({table}: OpenedAnchor): Promise<void> {
		if (!table) {
			await this.#closeToOthers(this.keyFile.path);
			return;
		}

		await this.#closeToOthers(this.slots.path);
		if (table.isDamaged) {
			this.#env.log(
				`${this.slots.path} is damaged in both copies; the slots that are intact still open it. Change or add a passphrase to write it anew`,
				'warning',
			);
			return;
		}

		if (table.staleCopy !== undefined) {
			await this.write(async () => this.slots.settle(table));
			this.#env.log(
				`${this.slots.path}: one of the two copies was not whole, as after an interrupted write; it was written anew`,
				'warning',
			);
		}

		await this.write(async () => this.#tidyKeyFiles(table));
	}

	async #tidyKeyFiles(table: ReadSlots): Promise<void> {
		const next = await this.keyFile.readNext().catch(() => undefined);
		if (next) {
			const isInUse = (await this.slots.open(table, next, ['key_file'])) !== 'wrong';
			next.fill(0);
			await (isInUse ? this.keyFile.advance() : this.keyFile.remove([this.keyFile.nextPath]));
		}

		if (!listSlots(table).some(({description}) => !description || description.kind === 'key_file')) {
			if (await this.keyFile.remove()) {
				this.#env.log(`${this.keyFile.path} was removed: no slot belongs to it any more`, 'warning');
			}
		} else if (
			await stat(this.keyFile.path).then(
				() => true,
				() => false,
			)
		) {
			await this.#closeToOthers(this.keyFile.path);
		}
	}

	#keep({secrets}: OpenedAnchor): readonly MasterKey[] {
		const {authority, masterKeys} = copySecrets(secrets);
		this.#authority = authority;
		return masterKeys;
	}

	async #make(masterKey: Uint8Array, passphrase: NamedSecret | undefined): Promise<void> {
		const drawn = passphrase ? this.#env.randomBytes(masterKey.length) : masterKey;
		const authority = Buffer.from(drawn);
		const secrets: AnchorSecrets = {authority, masterKeys: [{key: Buffer.from(masterKey), wrappedHash: undefined}]};
		try {
			const recordKey = deriveFrom(authority, 'record');
			await replaceFile(this.#recordPath, encodeEmptyRecordFile(recordKey));
			if (passphrase) {
				drawn.fill(0);
				const derivation = await this.costOfGuess(passphrase.memory);
				const slot = await makeSlot({kind: 'passphrase', derivation, ...passphrase}, secrets, count =>
					this.#env.randomBytes(count),
				);
				await this.slots.replace(freshTable([slot]));
				this.noteSlots();
			} else {
				await this.keyFile.write(masterKey);
			}

			this.#record.begin(recordKey);
			this.#authority = Buffer.from(authority);
		} finally {
			wipeSecrets(secrets);
		}
	}

	/** Takes a file's rights away from everybody but the owner. */
	async #closeToOthers(path: string): Promise<void> {
		const {mode} = await stat(path);
		if ((mode & 0o077) === 0) {
			return;
		}

		const seen = (mode & 0o777).toString(8).padStart(4, '0');
		const consequence =
			path === this.keyFile.path
				? 'they may have read the master key'
				: 'they may have copied it, and guess passphrases';
		try {
			await chmod(path, 0o600);
			this.#env.log(
				`${path} was open to other users (mode ${seen}) and now is not (mode 0600); ${consequence}`,
				'warning',
			);
		} catch (error) {
			this.#env.log(
				`${path} is open to other users (mode ${seen}): ${reasonOf(error)}; set its mode to 0600`,
				'warning',
			);
		}
	}
}
