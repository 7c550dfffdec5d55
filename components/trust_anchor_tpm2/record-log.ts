/** The record file while the anchor is open: one sector is written for each record. */
import {open, type FileHandle} from 'node:fs/promises';
import {encodeSlot, slotLength, slotOffset, type ChainedRecord} from './chained-record-file.js';

export class RecordLog {
	readonly path: string;
	readonly #recordKey: Buffer;
	#file: FileHandle | undefined;

	constructor(path: string, recordKey: Buffer) {
		this.path = path;
		this.#recordKey = recordKey;
	}

	/** The record is durable once this resolves; after an error nobody knows whether it is. */
	async write(record: ChainedRecord): Promise<void> {
		this.#file ??= await open(this.path, 'r+');
		const {bytesWritten} = await this.#file.write(
			encodeSlot(record, this.#recordKey),
			0,
			slotLength,
			slotOffset(record.sequence),
		);
		if (bytesWritten !== slotLength) {
			throw new Error(`only ${bytesWritten} of ${slotLength} bytes of ${this.path} were written`);
		}

		await this.#file.datasync();
	}

	async close(): Promise<void> {
		await this.#file?.close();
		this.#file = undefined;
	}
}
