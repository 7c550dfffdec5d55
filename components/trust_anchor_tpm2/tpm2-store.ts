/**
 * The anchor's files and its TPM together. The sealed key comes first, the first write of the NV index last: with it
 * the anchor exists. From then on each record goes to the file at once, and to the TPM once for each window.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {readSmallFile, replaceFile} from '../lib/host/durable-file.js';
import {Mutex} from '../lib/sync/mutex.js';
import {AnchorDirectory} from '../lib/anchor/anchor-directory.js';
import {
	freshMarks,
	type AnchorContent,
	type AnchorStore,
	type NamedSecret,
	type RecordMarks,
	type SecuredRecord,
} from '../lib/anchor/served-store.js';
import {emptyVariable, readPassphrase, type SourceConfig} from '../lib/anchor/passphrase-source.js';
import {formatRecoveryKey, parseRecoveryKey, recoveryKeyLength} from '../lib/anchor/recovery-key.js';
import {AnchorFiles, reasonOf} from './anchor-files.js';
import {
	faultOf,
	inspectNv,
	isUnfinished,
	makeNv,
	noLink,
	nvAreaOf,
	removeUnwritten,
	requireFresh,
	startOver,
	writeFirst,
} from './anchor-memory.js';
import {judgeFreshness, newestOf} from './freshness.js';
import {FreshnessWindow, type WindowLimits} from './freshness-window.js';
import {freshBytes} from './fresh-bytes.js';
import type {KeyFile} from './sealed-key-file.js';
import {openStorageKey, type KeyPolicy} from './key-policy.js';
import {deriveFrom} from './master-derived.js';
import {freeNvHandle, type NvArea} from './nv-index.js';
import type {NvContent} from './nv-content.js';
import {RecordLog} from './record-log.js';
import type {ChainedRecord} from './chained-record-file.js';
import {unwrapForRecovery, wrapForRecovery} from './recovery-slot.js';
import {sealMaster, unsealMaster} from './sealed-master.js';
import {isTpmProblem, TpmMemory} from './tpm-memory.js';
import {TpmError} from './tpm-error.js';
import {Tpm} from './tpm.js';

export interface Tpm2StoreOptions {
	readonly directory: string;
	/** The device, or an emulator's socket. */
	readonly tpmPath: string;
	/** For new anchors, and for those that a recovery key seals anew. */
	readonly policy: KeyPolicy;
	readonly window: WindowLimits;
	readonly passphrase: SourceConfig;
	readonly recoveryVariable: string;
	readonly ownerVariable: string;
	/** Where a new anchor's recovery key is written to. */
	readonly recoveryPath: string | undefined;
}

/** An anchor in use. */
interface OpenAnchor {
	readonly recordKey: Buffer;
	readonly area: NvArea;
	readonly log: RecordLog;
	readonly memory: TpmMemory;
	readonly window: FreshnessWindow;
	newest: ChainedRecord;
}

/** A secret and where it came from, for messages. */
interface GivenSecret {
	/** The caller wipes it. */
	readonly secret: Buffer;
	readonly name: string;
}

/** What opens the anchor, as far as it is known. */
interface Credentials {
	readonly passphrase: GivenSecret | undefined;
	readonly recoveryKey: GivenSecret | undefined;
}

/** Where an opening begins: the authentic records, and what the TPM says of them. */
interface Opening {
	readonly masterKey: Buffer;
	readonly area: NvArea;
	readonly content: NvContent;
	readonly newest: ChainedRecord;
	readonly isCovered: boolean;
}

export class Tpm2Store implements AnchorStore {
	readonly #directory: AnchorDirectory;
	readonly #files: AnchorFiles;
	readonly #options: Tpm2StoreOptions;
	readonly #env: Environment;
	/** The password of the owner hierarchy; each opening needs it. */
	#owner: Buffer | undefined;
	/** Everything that writes records or the TPM: calls of the service, and the end of a window. */
	readonly #mutex = new Mutex('anchor store');
	#open: OpenAnchor | undefined;
	/** What an `initialize` that was cut short has left in the TPM. */
	#unfinished: NvArea | undefined;
	#writeCount = 0;

	constructor(options: Tpm2StoreOptions, env: Environment) {
		this.#options = options;
		this.#env = env;
		this.#directory = new AnchorDirectory(options.directory, env);
		this.#files = new AnchorFiles(options.directory);
	}

	/** How often the TPM has been written since the start. */
	get writeCount(): number {
		return this.#writeCount;
	}

	/** Records that the TPM does not cover yet. */
	get uncoveredCount(): number {
		return this.#open?.window.recordCount ?? 0;
	}

	async load(secret?: Uint8Array): Promise<AnchorContent | undefined> {
		await this.#directory.claim();
		const file = await this.#files.readKey();
		if (!file) {
			return undefined;
		}

		const record = await this.#files.readRecord();
		if (record) {
			await this.#files.settleRecord();
			await this.#directory.settle();
		}

		const credentials = await this.#credentials(secret);
		try {
			return await this.#openWith({file, record, credentials});
		} finally {
			credentials.passphrase?.secret.fill(0);
			credentials.recoveryKey?.secret.fill(0);
		}
	}

	async initialize(masterKey: Uint8Array, named?: NamedSecret): Promise<void> {
		const passphrase = this.#options.policy.demandsPassphrase
			? this.#requirePassphrase(
					named
						? {secret: Buffer.from(named.secret), name: 'the passphrase'}
						: await this.#configuredPassphrase(),
					'or name a file with --passphrase-file: the new trust anchor is made with it',
				)
			: undefined;
		try {
			await this.#withTpm(async tpm => this.#create(tpm, masterKey, passphrase?.secret));
		} catch (error) {
			throw error instanceof SessionError
				? error
				: new SessionError(
						'storage_failed',
						`the trust anchor cannot be made in ${this.#directory.path}: ${reasonOf(error)}`,
					);
		} finally {
			passphrase?.secret.fill(0);
		}
	}

	async secure(secured: SecuredRecord, marks: RecordMarks): Promise<void> {
		await this.#write(secured, marks, 'secured');
	}

	/** An announcement is no state: it waits for no write of the TPM, and causes none. */
	async intend(secured: SecuredRecord | null, marks: RecordMarks): Promise<void> {
		await this.#write(secured, marks, 'announced');
	}

	async #write(secured: SecuredRecord | null, marks: RecordMarks, kind: 'secured' | 'announced'): Promise<void> {
		await this.#mutex.run(async () => {
			const open = this.#open;
			if (!open) {
				throw new Error('a record before load or initialize');
			}

			if (open.window.isOverdue) {
				await this.#cover(open);
			}

			await this.#append(open, {secured, marks}, kind);
		});
	}

	/** An orderly end leaves no window open. */
	async close(): Promise<void> {
		await this.#mutex.run(async () => {
			const open = this.#open;
			if (!open) {
				return;
			}

			try {
				if (open.window.isOpen) {
					await this.#cover(open);
				}
			} catch (error) {
				this.#env.log(`the newest record is in ${open.log.path} only: ${reasonOf(error)}`, 'error');
			} finally {
				this.#open = undefined;
				open.window.end();
				open.recordKey.fill(0);
				open.area.authValue.fill(0);
				await open.log.close();
			}
		});
	}

	/**
	 * Once the writing has begun, a failure leaves nobody knowing which record counts. The service must not go on from
	 * the one before, whose successor may turn up later; so the component starts over and reads what is there.
	 */
	async #append(
		open: OpenAnchor,
		content: Pick<ChainedRecord, 'secured' | 'marks'>,
		kind: 'secured' | 'announced',
	): Promise<void> {
		const record = {...content, sequence: open.newest.sequence + 1, link: open.memory.link};
		try {
			await open.log.write(record);
			open.newest = record;
			if (kind === 'secured' && open.window.note()) {
				await this.#cover(open);
			}
		} catch (error) {
			this.#env.fail(`a record could not be secured: ${reasonOf(error)}`);
		}
	}

	async #openWith({
		file,
		record,
		credentials: {passphrase, recoveryKey},
	}: {
		file: KeyFile;
		record: Buffer | undefined;
		credentials: Credentials;
	}): Promise<AnchorContent | undefined> {
		let opening;
		try {
			opening = await this.#withTpm(async tpm => this.#openSealed(tpm, {file, record, passphrase}));
		} catch (error) {
			if (!recoveryKey) {
				throw error;
			}

			this.#env.log(
				`the recovery key is used, because the usual way does not open the trust anchor: ${reasonOf(error)}`,
				'warning',
			);
			opening = await this.#withTpm(async tpm =>
				this.#openByRecovery(tpm, {file, record, passphrase, recoveryKey}),
			);
		}

		if (!opening) {
			return undefined;
		}

		this.#begin(opening.masterKey, opening);
		return {
			masterKeys: [{key: opening.masterKey, wrappedHash: undefined}],
			secured: opening.newest.secured,
			marks: opening.newest.marks,
		};
	}

	/** The usual way. Undefined where `initialize` was cut short. */
	async #openSealed(
		tpm: Tpm,
		{file, record, passphrase}: {file: KeyFile; record: Buffer | undefined; passphrase: GivenSecret | undefined},
	): Promise<Opening | undefined> {
		const given = file.demandsPassphrase ? this.#requirePassphrase(passphrase) : undefined;
		const masterKey = await unsealMaster(tpm, {
			file,
			ownerAuth: this.#ownerAuth(),
			passphrase: given?.secret,
			passphraseName: given?.name ?? 'no passphrase',
			keyPath: this.#files.keyPath,
		});
		try {
			const opening = await this.#judge(tpm, {file, record, masterKey});
			if (!opening) {
				masterKey.fill(0);
			}

			return opening;
		} catch (error) {
			masterKey.fill(0);
			throw error;
		}
	}

	async #judge(
		tpm: Tpm,
		{file, record, masterKey}: {file: KeyFile; record: Buffer | undefined; masterKey: Buffer},
	): Promise<Opening | undefined> {
		const area = nvAreaOf(file.nvHandle, deriveFrom(masterKey, 'nv'));
		const records = this.#recordsIn(record, masterKey);
		const finding = await inspectNv(tpm, area);
		if (isUnfinished(finding, records)) {
			this.#unfinished = area;
			return undefined;
		}

		if (!record) {
			throw this.#files.damagedRecord(
				`the record of the newest superblock is missing, though ${this.#files.keyPath} is there`,
			);
		}

		const advice = file.recoverySlot
			? 'put the newest one back, or open it with the recovery key, which takes the file for the newest'
			: 'put the newest one back';
		const {content, newest, isCovered} = requireFresh(finding, records, {path: this.#files.recordPath, advice});
		if (records.length === 1 && newest.sequence > 1) {
			this.#env.log(
				`${this.#files.recordPath}: one of the two records is unreadable, as after an interrupted write; the other one is used`,
				'warning',
			);
		}

		return {masterKey, area, content, newest, isCovered};
	}

	/** The way in without what usually opens the anchor; seals it anew for this TPM and the present configuration. */
	async #openByRecovery(
		tpm: Tpm,
		{
			file,
			record,
			passphrase,
			recoveryKey,
		}: {file: KeyFile; record: Buffer | undefined; passphrase: GivenSecret | undefined; recoveryKey: GivenSecret},
	): Promise<Opening> {
		const masterKey = this.#unwrap(file, recoveryKey);
		try {
			if (!record) {
				throw this.#files.damagedRecord('the record of the newest superblock is missing');
			}

			const records = this.#recordsIn(record, masterKey);
			const known = nvAreaOf(file.nvHandle, deriveFrom(masterKey, 'nv'));
			const {area, content, isCovered} = await this.#acceptFiles(tpm, known, records);
			await this.#sealAnew(tpm, {file: {...file, nvHandle: area.handle}, masterKey, passphrase});
			return {masterKey, area, content, newest: newestOf(records), isCovered};
		} catch (error) {
			masterKey.fill(0);
			throw error;
		}
	}

	/**
	 * Where the TPM vouches for the files, it stays as it is; otherwise they are taken for the newest, and the log
	 * tells.
	 */
	async #acceptFiles(
		tpm: Tpm,
		area: NvArea,
		records: readonly ChainedRecord[],
	): Promise<{area: NvArea; content: NvContent; isCovered: boolean}> {
		const finding = await inspectNv(tpm, area);
		const fault = faultOf(finding, records);
		if (finding.state === 'written' && fault === undefined) {
			const verdict = judgeFreshness(finding.content, records);
			return {area, content: finding.content, isCovered: verdict.kind === 'fresh' && verdict.isCovered};
		}

		this.#env.log(
			`the TPM does not vouch for the trust anchor's files (${fault}); as the recovery key was given, they are taken for the newest`,
			'warning',
		);
		return {...(await startOver(tpm, this.#ownerAuth(), area, records)), isCovered: true};
	}

	async #sealAnew(
		tpm: Tpm,
		{file, masterKey, passphrase}: {file: KeyFile; masterKey: Buffer; passphrase: GivenSecret | undefined},
	): Promise<void> {
		const {policy} = this.#options;
		if (policy.demandsPassphrase && !passphrase) {
			this.#env.log(
				`the key was not sealed anew, as there is no passphrase for it: set the environment variable ${this.#options.passphrase.variable} and give the recovery key once more`,
				'warning',
			);
			await this.#files.writeKey(file);
			return;
		}

		const parent = await openStorageKey(tpm, this.#ownerAuth());
		const part = await sealMaster(tpm, parent, policy, {
			masterKey,
			passphrase: policy.demandsPassphrase ? passphrase?.secret : undefined,
		});
		await this.#files.writeKey({...file, ...part});
		this.#env.log(
			`the key has been sealed anew: from now on ${describePolicy(policy)} opens ${this.#files.keyPath}; the recovery key stays valid`,
			'warning',
		);
	}

	async #create(tpm: Tpm, masterKey: Uint8Array, passphrase: Uint8Array | undefined): Promise<void> {
		const ownerAuth = this.#ownerAuth();
		const parent = await openStorageKey(tpm, ownerAuth);
		const sealed = await sealMaster(tpm, parent, this.#options.policy, {masterKey, passphrase});
		const area = nvAreaOf(await freeNvHandle(tpm), deriveFrom(masterKey, 'nv'));
		await this.#directory.make();
		if (this.#unfinished) {
			await removeUnwritten(tpm, ownerAuth, this.#unfinished);
			this.#unfinished = undefined;
		}

		const recoverySlot = await this.#makeRecoverySlot(masterKey);
		await this.#files.writeKey({...sealed, nvHandle: area.handle, recoverySlot});
		this.#unfinished = area;
		await makeNv(tpm, ownerAuth, area);
		const newest = {sequence: 1, secured: null, link: noLink, marks: freshMarks};
		const content = {epoch: 1, sequence: 1, secured: null};
		const recordKey = deriveFrom(masterKey, 'record');
		await this.#files.writeFirstRecord(newest, recordKey);
		recordKey.fill(0);
		await writeFirst(tpm, area, content);
		this.#writeCount++;
		this.#unfinished = undefined;
		this.#begin(masterKey, {area, content, newest, isCovered: true});
	}

	/** Writes a recovery key down, once, where the configuration says so. */
	async #makeRecoverySlot(masterKey: Uint8Array): Promise<Buffer | undefined> {
		const {recoveryPath} = this.#options;
		if (recoveryPath === undefined) {
			return undefined;
		}

		if (await readSmallFile(recoveryPath, 1)) {
			throw new SessionError(
				'storage_failed',
				`${recoveryPath} is there already and may hold the recovery key of another trust anchor, or one that opens nothing, of a first start that was cut off; move it away`,
			);
		}

		const key = freshBytes(this.#env, recoveryKeyLength);
		const text = Buffer.from(`${formatRecoveryKey(key)}\n`);
		try {
			await replaceFile(recoveryPath, text);
			this.#env.log(
				`the recovery key of ${this.#directory.path} is in ${recoveryPath}: print it, keep it elsewhere, and remove the file; whoever has it needs neither TPM nor passphrase`,
				'warning',
			);
			return wrapForRecovery(key, masterKey, this.#env);
		} finally {
			key.fill(0);
			text.fill(0);
		}
	}

	#begin(masterKey: Uint8Array, {area, content, newest, isCovered}: Omit<Opening, 'masterKey'>): void {
		const recordKey = deriveFrom(masterKey, 'record');
		const open: OpenAnchor = {
			recordKey,
			area,
			log: new RecordLog(this.#files.recordPath, recordKey),
			memory: new TpmMemory({path: this.#options.tpmPath, env: this.#env}, area, content),
			window: new FreshnessWindow(this.#options.window, this.#env, async () => this.#coverLater()),
			newest,
		};
		this.#open = open;
		if (!isCovered) {
			open.window.inherit();
		}
	}

	/** Has the TPM hold the newest record. */
	async #cover(open: OpenAnchor): Promise<void> {
		try {
			await open.memory.cover(open.newest);
			open.window.end();
			this.#writeCount++;
		} catch (error) {
			open.window.overrun();
			if (isTpmProblem(error)) {
				throw new SessionError(
					'storage_failed',
					`the TPM at ${this.#options.tpmPath} cannot be written: ${error.message}; nothing more is secured until it can`,
				);
			}

			throw error;
		}
	}

	/** The window is over. A failure is told to whoever secures next. */
	async #coverLater(): Promise<void> {
		await this.#mutex.run(async () => {
			const open = this.#open;
			if (open?.window.isOpen) {
				try {
					await this.#cover(open);
				} catch (error) {
					this.#env.log(reasonOf(error), 'error');
				}
			}
		});
	}

	#recordsIn(record: Buffer | undefined, masterKey: Uint8Array): ChainedRecord[] {
		if (!record) {
			return [];
		}

		const recordKey = deriveFrom(masterKey, 'record');
		try {
			return this.#files.recordsIn(record, recordKey);
		} finally {
			recordKey.fill(0);
		}
	}

	#unwrap({recoverySlot}: KeyFile, {secret, name}: GivenSecret): Buffer {
		if (!recoverySlot) {
			throw new SessionError(
				'wrong_passphrase',
				`${this.#files.keyPath} has no recovery key: none was asked for when the trust anchor was made`,
			);
		}

		const key = parseRecoveryKey(secret);
		if (key === 'other' || key === 'mistyped') {
			throw new SessionError(
				'wrong_passphrase',
				key === 'other'
					? `${name} is no recovery key`
					: `${name} has a slip in it: its checksum does not match`,
			);
		}

		const masterKey = unwrapForRecovery(key, recoverySlot);
		key.fill(0);
		if (!masterKey) {
			throw new SessionError('wrong_passphrase', `${name} is the recovery key of another trust anchor`);
		}

		return masterKey;
	}

	/** What was given, or what the configuration names. The caller wipes it. */
	async #credentials(secret?: Uint8Array): Promise<Credentials> {
		const {recoveryVariable} = this.#options;
		const passphrase = await this.#configuredPassphrase();
		if (!secret) {
			return {passphrase, recoveryKey: this.#fromVariable(recoveryVariable)};
		}

		if (parseRecoveryKey(secret) === 'other') {
			passphrase?.secret.fill(0);
			return {passphrase: {secret: Buffer.from(secret), name: 'the passphrase'}, recoveryKey: undefined};
		}

		return {passphrase, recoveryKey: {secret: Buffer.from(secret), name: 'the recovery key'}};
	}

	/** @throws SessionError where a file is named that cannot be read */
	async #configuredPassphrase(): Promise<GivenSecret | undefined> {
		try {
			const found = await readPassphrase(this.#options.passphrase, this.#env);
			return found && {secret: found.secret, name: `the passphrase in ${found.origin}`};
		} catch (error) {
			throw new SessionError('wrong_passphrase', reasonOf(error));
		}
	}

	#fromVariable(variable: string): GivenSecret | undefined {
		const secret = this.#env.secret(variable);
		if (secret?.length === 0) {
			throw new SessionError('wrong_passphrase', emptyVariable(variable, 'the recovery key').message);
		}

		return secret && {secret, name: `the environment variable ${variable}`};
	}

	#requirePassphrase(
		given: GivenSecret | undefined,
		otherWay = 'or use "runtime unlock" while the runtime runs',
	): GivenSecret {
		if (!given) {
			throw new SessionError(
				'locked',
				`no passphrase for ${this.#directory.path}: set the environment variable ${this.#options.passphrase.variable}, ${otherWay}`,
			);
		}

		return given;
	}

	#ownerAuth(): Buffer {
		this.#owner ??= this.#env.secret(this.#options.ownerVariable);
		return Buffer.from(this.#owner ?? []);
	}

	async #withTpm<T>(job: (tpm: Tpm) => Promise<T>): Promise<T> {
		try {
			return await Tpm.use(this.#options.tpmPath, this.#env, job);
		} catch (error) {
			throw error instanceof TpmError
				? new SessionError(
						'storage_failed',
						`the TPM at ${this.#options.tpmPath} cannot be used: ${error.message}`,
					)
				: error;
		}
	}
}

function describePolicy({pcrs, demandsPassphrase}: KeyPolicy): string {
	const parts = [
		...(demandsPassphrase ? ['the present passphrase'] : []),
		...(pcrs.length > 0 ? [`the present value of PCR ${pcrs.join(', ')}`] : []),
	];
	return parts.join(' together with ');
}
