/** The file `newest_superblock` in use: the newest record is read once and replaced in place. */
import fs from 'node:fs';
import type {Environment} from '../../runtime/sdk/component.js';
import {DataSync} from '../lib/host/data-sync.js';
import {PathWatch} from '../lib/host/path-watch.js';
import {UncertainRecord, type RecordMarks, type SecuredRecord} from '../lib/anchor/served-store.js';
import {encodeSlot, readRecordFile, slotLength, slotOffset} from './record-file.js';

function reasonOf(error: unknown): string {
	return error instanceof Error ? error.message : String(error);
}

export class RecordStore {
	readonly #path: string;
	#recordKey: Buffer | undefined;
	#file: number | undefined;
	readonly #dataSync: DataSync;
	readonly #watch: PathWatch;
	/** Sequence number of the newest record on the medium. */
	#sequence = 1;
	/** There are key slots: said in each record from now on. */
	hasSlots = false;

	constructor(path: string, env: Pick<Environment, 'now' | 'log'>) {
		this.#path = path;
		this.#dataSync = new DataSync(() => env.now());
		this.#watch = new PathWatch(path, env);
	}

	/** Takes a file that holds no record yet. The key is wiped by `close`. */
	begin(recordKey: Buffer): void {
		this.#recordKey = recordKey;
		this.#sequence = 1;
	}

	/** The newest record, or undefined where nobody can know it. The key is wiped by `close`. */
	open(
		content: Buffer,
		recordKey: Buffer,
	): {secured: SecuredRecord | null; marks: RecordMarks; copyLost: boolean; hadSlots: boolean} | undefined {
		const record = readRecordFile(content, recordKey);
		if (!record) {
			recordKey.fill(0);
			return undefined;
		}

		this.#recordKey = recordKey;
		this.#sequence = record.newest.sequence;
		return {
			secured: record.newest.secured,
			marks: record.newest.marks,
			copyLost: record.copyLost,
			hadSlots: record.newest.hasSlots,
		};
	}

	/** Where it fails, nobody knows what the medium holds: nothing may be secured before it is read again. */
	async write(secured: SecuredRecord | null, marks: RecordMarks): Promise<void> {
		if (!this.#recordKey) {
			throw new Error('a record before load or initialize');
		}

		const sequence = this.#sequence + 1;
		const slot = encodeSlot({sequence, secured, hasSlots: this.hasSlots, marks}, this.#recordKey);
		try {
			this.#file ??= fs.openSync(this.#path, 'r+');
			const bytesWritten = fs.writeSync(this.#file, slot, 0, slotLength, slotOffset(sequence));
			if (bytesWritten !== slotLength) {
				throw new Error(`only ${bytesWritten} of ${slotLength} bytes were written`);
			}

			await this.#dataSync.run(this.#file);
			this.#watch.look(this.#file);
		} catch (error) {
			throw new UncertainRecord(
				`${this.#path} cannot be written (${reasonOf(error)}): what it holds has to be read again`,
			);
		}

		this.#sequence = sequence;
	}

	async close(): Promise<void> {
		this.#recordKey?.fill(0);
		this.#recordKey = undefined;
		if (this.#file !== undefined) {
			fs.closeSync(this.#file);
			this.#file = undefined;
		}
	}
}
