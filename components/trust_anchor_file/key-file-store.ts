/** The anchor's directory: the key file and the record file. The key file appears last: with it the anchor exists. */
import {hkdfSync} from 'node:crypto';
import fs from 'node:fs';
import {chmod, mkdir, stat} from 'node:fs/promises';
import {dirname, join} from 'node:path';
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {DataSync} from '../container/data-sync.js';
import {readSmallFile, replaceFile, syncDirectory} from '../container/durable-file.js';
import type {AnchorContent, AnchorStore, SecuredRecord} from '../sessions/anchor-service.js';
import {decodeKeyFile, encodeKeyFile, keyFileLength} from './key-file.js';
import {encodeEmptyRecordFile, encodeSlot, looksEmpty, readRecordFile, recordFileLength, slotLength, slotOffset} from './record-file.js';

const recordKeyInfo = 'cbe trust anchor record';
const restoreAdvice = 'restore the trust anchor\'s directory from a backup, or remove it together with the image to start anew, which loses all data';

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

function damaged(path: string, fault: string): SessionError {
	return new SessionError('damaged', `${path}: ${fault}; ${restoreAdvice}`);
}

async function read(path: string, length: number): Promise<Buffer | undefined> {
	try {
		// One byte more, to notice what is too long.
		return await readSmallFile(path, length + 1);
	} catch (error) {
		throw new SessionError('damaged', `${path} cannot be read (${reasonOf(error)}); make it readable for the user that runs this program`);
	}
}

export class KeyFileStore implements AnchorStore {
	readonly #directory: string;
	readonly #keyPath: string;
	readonly #recordPath: string;
	readonly #env: Environment;
	#recordKey: Buffer | undefined;
	#recordFile: number | undefined;
	readonly #dataSync: DataSync;
	/** Sequence number of the newest record on the medium. */
	#sequence = 1;
	/** After a failed sync nobody knows what the medium holds, and a later sync that succeeds would not tell. */
	#failure: string | undefined;

	constructor(directory: string, env: Environment) {
		this.#directory = directory;
		this.#keyPath = join(directory, 'master_key');
		this.#recordPath = join(directory, 'newest_superblock');
		this.#env = env;
		this.#dataSync = new DataSync(() => env.now());
	}

	async load(): Promise<AnchorContent | undefined> {
		const keyContent = await read(this.#keyPath, keyFileLength);
		const record = await read(this.#recordPath, recordFileLength);
		if (!keyContent) {
			// An interrupted `initialize` leaves an empty record at most.
			if (record && !looksEmpty(record)) {
				throw damaged(this.#keyPath, `the key file is missing, though ${this.#recordPath} is there`);
			}

			return undefined;
		}

		const masterKey = this.#decodeKey(keyContent);
		if (!record) {
			masterKey.fill(0);
			throw damaged(this.#recordPath, `the record of the newest superblock is missing, though ${this.#keyPath} is there`);
		}

		await this.#closeToOthers();
		return {masterKey, secured: this.#openRecord(masterKey, record)};
	}

	async initialize(masterKey: Uint8Array): Promise<void> {
		const keyContent = encodeKeyFile(masterKey);
		try {
			await this.#makeDirectory();
			await replaceFile(this.#recordPath, encodeEmptyRecordFile(this.#derive(masterKey)));
			await replaceFile(this.#keyPath, keyContent);
			this.#sequence = 1;
		} catch (error) {
			throw new SessionError('storage_failed', `the trust anchor cannot be made in ${this.#directory}: ${reasonOf(error)}`);
		} finally {
			keyContent.fill(0);
		}
	}

	async secure(secured: SecuredRecord): Promise<void> {
		if (this.#failure) {
			throw new SessionError('storage_failed', this.#failure);
		}

		if (!this.#recordKey) {
			throw new Error('secure before load or initialize');
		}

		const sequence = this.#sequence + 1;
		const slot = encodeSlot({sequence, secured}, this.#recordKey);
		try {
			this.#recordFile ??= fs.openSync(this.#recordPath, 'r+');
			const bytesWritten = fs.writeSync(this.#recordFile, slot, 0, slotLength, slotOffset(sequence));
			if (bytesWritten !== slotLength) {
				throw new Error(`only ${bytesWritten} of ${slotLength} bytes were written`);
			}

			await this.#dataSync.run(this.#recordFile);
		} catch (error) {
			this.#failure = `${this.#recordPath} cannot be written (${reasonOf(error)}); restart once its file system works again`;
			throw new SessionError('storage_failed', this.#failure);
		}

		this.#sequence = sequence;
	}

	async close(): Promise<void> {
		this.#recordKey?.fill(0);
		this.#recordKey = undefined;
		if (this.#recordFile !== undefined) {
			fs.closeSync(this.#recordFile);
			this.#recordFile = undefined;
		}
	}

	#derive(masterKey: Uint8Array): Buffer {
		this.#recordKey = Buffer.from(hkdfSync('sha256', masterKey, '', recordKeyInfo, 32));
		return this.#recordKey;
	}

	#decodeKey(content: Buffer): Buffer {
		const decoded = decodeKeyFile(content);
		content.fill(0);
		if ('fault' in decoded) {
			throw damaged(this.#keyPath, decoded.fault);
		}

		return decoded.masterKey;
	}

	#openRecord(masterKey: Buffer, content: Buffer): SecuredRecord | null {
		const record = readRecordFile(content, this.#derive(masterKey));
		if (!record) {
			masterKey.fill(0);
			throw damaged(this.#recordPath, `it was not written with the key in ${this.#keyPath}, or was altered or cut off`);
		}

		if (record.slotLost) {
			this.#env.log(`${this.#recordPath}: one of the two records is unreadable, as after an interrupted write; the other one is used`, 'warning');
		}

		this.#sequence = record.newest.sequence;
		return record.newest.secured;
	}

	async #makeDirectory(): Promise<void> {
		const made = await mkdir(this.#directory, {recursive: true, mode: 0o700});
		if (made) {
			await chmod(this.#directory, 0o700);
			await syncDirectory(dirname(made));
			await syncDirectory(dirname(this.#directory));
		}
	}

	/** Takes the key file's rights away from everybody but the owner. */
	async #closeToOthers(): Promise<void> {
		const {mode} = await stat(this.#keyPath);
		if ((mode & 0o077) === 0) {
			return;
		}

		const seen = (mode & 0o777).toString(8).padStart(4, '0');
		try {
			await chmod(this.#keyPath, 0o600);
			this.#env.log(`${this.#keyPath} was open to other users (mode ${seen}) and now is not (mode 0600); they may have read the master key`, 'warning');
		} catch (error) {
			this.#env.log(`${this.#keyPath} is open to other users (mode ${seen}): ${reasonOf(error)}; set its mode to 0600`, 'warning');
		}
	}
}
