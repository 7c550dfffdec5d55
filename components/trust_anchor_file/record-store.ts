/** The file `newest_superblock` in use: the newest record is read once and replaced in place. */
import {open, type FileHandle} from 'node:fs/promises';
import {SessionError} from '../../runtime/sdk/session.js';
import type {SecuredRecord} from '../sessions/anchor-service.js';
import {encodeSlot, readRecordFile, slotLength, slotOffset} from './record-file.js';

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

export class RecordStore {
	readonly #path: string;
	#recordKey: Buffer | undefined;
	#file: FileHandle | undefined;
	/** Sequence number of the newest record on the medium. */
	#sequence = 1;
	/** After a failed sync nobody knows what the medium holds, and a later sync that succeeds would not tell. */
	#failure: string | undefined;
	/** There are key slots: said in each record from now on. */
	hasSlots = false;

	constructor(path: string) {
		this.#path = path;
	}

	/** Takes a file that holds no record yet. The key is wiped by `close`. */
	begin(recordKey: Buffer): void {
		this.#recordKey = recordKey;
		this.#sequence = 1;
	}

	/** The newest record, or undefined where nobody can know it. The key is wiped by `close`. */
	open(content: Buffer, recordKey: Buffer): {secured: SecuredRecord | null; copyLost: boolean; hadSlots: boolean} | undefined {
		const record = readRecordFile(content, recordKey);
		if (!record) {
			recordKey.fill(0);
			return undefined;
		}

		this.#recordKey = recordKey;
		this.#sequence = record.newest.sequence;
		return {secured: record.newest.secured, copyLost: record.copyLost, hadSlots: record.newest.hasSlots};
	}

	async secure(secured: SecuredRecord): Promise<void> {
		if (this.#failure) {
			throw new SessionError('storage_failed', this.#failure);
		}

		if (!this.#recordKey) {
			throw new Error('secure before load or initialize');
		}

		const sequence = this.#sequence + 1;
		const slot = encodeSlot({sequence, secured, hasSlots: this.hasSlots}, this.#recordKey);
		try {
			this.#file ??= await open(this.#path, 'r+');
			const {bytesWritten} = await this.#file.write(slot, 0, slotLength, slotOffset(sequence));
			if (bytesWritten !== slotLength) {
				throw new Error(`only ${bytesWritten} of ${slotLength} bytes were written`);
			}

			await this.#file.datasync();
		} catch (error) {
			this.#failure = `${this.#path} cannot be written (${reasonOf(error)}); restart once its file system works again`;
			throw new SessionError('storage_failed', this.#failure);
		}

		this.#sequence = sequence;
	}

	async close(): Promise<void> {
		this.#recordKey?.fill(0);
		this.#recordKey = undefined;
		await this.#file?.close();
		this.#file = undefined;
	}
}
