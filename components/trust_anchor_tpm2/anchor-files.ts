/** The two files in the anchor's directory, as bytes. */
import {join} from 'node:path';
import {SessionError} from '../../runtime/sdk/session.js';
import {readSmallFile, replaceFile, rewriteFile} from '../lib/host/durable-file.js';
import {decodeKeyFile, encodeKeyFile, keyFileLengthMax, type KeyFile} from './sealed-key-file.js';
import {
	encodeFirstRecordFile,
	readRecordFile,
	recordFileLength,
	recordParts,
	type ChainedRecord,
} from './chained-record-file.js';

const restoreAdvice =
	"restore the trust anchor's directory from its newest backup, or remove it together with the image to start anew, which loses all data";

export function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

async function read(path: string, lengthMax: number): Promise<Buffer | undefined> {
	try {
		// One byte more, to notice what is too long.
		return await readSmallFile(path, lengthMax + 1);
	} catch (error) {
		throw new SessionError(
			'damaged',
			`${path} cannot be read (${reasonOf(error)}); make it readable for the user that runs this program`,
		);
	}
}

export class AnchorFiles {
	readonly keyPath: string;
	readonly recordPath: string;

	constructor(directory: string) {
		this.keyPath = join(directory, 'sealed_key');
		this.recordPath = join(directory, 'newest_superblock');
	}

	/** Undefined where there is no anchor. @throws SessionError `damaged` */
	async readKey(): Promise<KeyFile | undefined> {
		const content = await read(this.keyPath, keyFileLengthMax);
		if (content) {
			const decoded = decodeKeyFile(content);
			if ('fault' in decoded) {
				throw this.damagedKey(decoded.fault);
			}

			return decoded.file;
		}

		if (await this.readRecord()) {
			throw this.damagedKey(`the sealed key is missing, though ${this.recordPath} is there`);
		}

		return undefined;
	}

	async writeKey(file: KeyFile): Promise<void> {
		await replaceFile(this.keyPath, encodeKeyFile(file));
	}

	/** The record file, undefined where there is none. @throws SessionError `damaged` where it cannot be one */
	async readRecord(): Promise<Buffer | undefined> {
		const content = await read(this.recordPath, recordFileLength);
		if (content && content.length !== recordFileLength) {
			throw this.damagedRecord(
				content.length < recordFileLength ? `it is cut off after ${content.length} bytes` : 'it is too long',
			);
		}

		return content;
	}

	/** What a run that was cut off has written is durable before the TPM, or anybody, is told of it. */
	async settleRecord(): Promise<void> {
		try {
			await rewriteFile(this.recordPath, recordParts);
		} catch (error) {
			throw new SessionError(
				'storage_failed',
				`${this.recordPath} cannot be made durable (${reasonOf(error)}); restart once its file system works again`,
			);
		}
	}

	async writeFirstRecord(record: ChainedRecord, recordKey: Uint8Array): Promise<void> {
		await replaceFile(this.recordPath, encodeFirstRecordFile(record, recordKey));
	}

	/** The records in it that were written with this key, at least one. @throws SessionError `damaged` */
	recordsIn(content: Buffer, recordKey: Uint8Array): ChainedRecord[] {
		const records = readRecordFile(content, recordKey);
		if (records.length === 0) {
			throw this.damagedRecord(`it was not written with the key in ${this.keyPath}, or was altered`);
		}

		return records;
	}

	damagedKey(fault: string): SessionError {
		return new SessionError('damaged', `${this.keyPath}: ${fault}; ${restoreAdvice}`);
	}

	damagedRecord(fault: string): SessionError {
		return new SessionError('damaged', `${this.recordPath}: ${fault}; ${restoreAdvice}`);
	}
}
