/** The file `key_slots` in use, and what opens it: a passphrase, a recovery key, or a key file beside it. */
import {open} from 'node:fs/promises';
import {SessionError} from '../../runtime/sdk/session.js';
import {readSmallFile, replaceFile} from '../lib/host/durable-file.js';
import {type AnchorSecrets} from './anchor-secrets.js';
import {
	describeSlot,
	isAuthentic,
	isEmpty,
	isIntact,
	openSlot,
	type SlotDescription,
	type SlotKind,
} from './key-slot.js';
import {parseRecoveryKey} from '../lib/anchor/recovery-key.js';
import {
	encodeSlotsFile,
	readSlotsFile,
	settlingWrites,
	slotsFileLength,
	updateWrites,
	withSlots,
	type CopyWrite,
	type ReadSlots,
} from './slots-file.js';

export interface OpenedBy {
	/** The caller wipes them. */
	readonly secrets: AnchorSecrets;
	/** The slot that was opened. */
	readonly index: number;
}

export interface ListedSlot {
	readonly index: number;
	/** Undefined where the slot is damaged. */
	readonly description: SlotDescription | undefined;
}

/** Slots that are in use. */
export function listSlots({slots}: ReadSlots): ListedSlot[] {
	return slots.flatMap((slot, index) =>
		isEmpty(slot) ? [] : [{index, description: isIntact(slot) ? describeSlot(slot) : undefined}],
	);
}

export class SlotStore {
	readonly path: string;

	constructor(path: string) {
		this.path = path;
	}

	/** Undefined where the file is not there. @throws SessionError `damaged` */
	async read(): Promise<ReadSlots | undefined> {
		let content;
		try {
			// One byte more, to notice what is too long.
			content = await readSmallFile(this.path, slotsFileLength + 1);
		} catch (error) {
			throw new SessionError(
				'damaged',
				`${this.path} cannot be read (${error instanceof Error ? error.message : String(error)}); make it readable for the user that runs this program`,
			);
		}

		if (!content) {
			return undefined;
		}

		const table = content.length === slotsFileLength ? readSlotsFile(content) : undefined;
		if (!table) {
			throw new SessionError(
				'damaged',
				`${this.path} is cut off, or is no file of key slots; restore it from a backup`,
			);
		}

		return table;
	}

	/** The slot of that kind which the secret opens, and what it holds. Each passphrase slot takes about a second. */
	async open(table: ReadSlots, secret: Uint8Array, kinds: readonly SlotKind[]): Promise<OpenedBy | 'wrong'> {
		let isAltered = false;
		let damagedCount = 0;
		for (const {index, description} of listSlots(table)) {
			if (!description) {
				damagedCount++;
			} else if (kinds.includes(description.kind)) {
				const opened = await openSlot(table.slots[index], description, secret);
				if (typeof opened !== 'string') {
					return {secrets: opened, index};
				}

				isAltered ||= opened === 'altered';
			}
		}

		if (isAltered) {
			throw new SessionError(
				'damaged',
				`the passphrase is right, but its slot in ${this.path} was altered; restore the file from a backup`,
			);
		}

		if (damagedCount > 0 && damagedCount === listSlots(table).length) {
			throw new SessionError('damaged', `every slot in ${this.path} is damaged; restore it from a backup`);
		}

		return 'wrong';
	}

	/** Opens with what somebody typed. @throws SessionError `wrong_passphrase`, `damaged` */
	async openWith(table: ReadSlots, typed: Uint8Array, name: string): Promise<OpenedBy> {
		const recovery = parseRecoveryKey(typed);
		if (typeof recovery !== 'string') {
			try {
				const opened = await this.open(table, recovery, ['recovery']);
				if (opened !== 'wrong') {
					return opened;
				}
			} finally {
				recovery.fill(0);
			}
		}

		const opened = await this.open(table, typed, ['passphrase']);
		if (opened !== 'wrong') {
			return opened;
		}

		const damagedCount = listSlots(table).filter(({description}) => !description).length;
		const slip =
			recovery === 'mistyped'
				? '; if it is a recovery key, there is a slip in it: its checksum does not match'
				: '';
		const damage =
			damagedCount > 0 ? `; ${damagedCount} of its slots are damaged, so it may have been one of theirs` : '';
		throw new SessionError('wrong_passphrase', `${name} does not open ${this.path}${slip}${damage}`);
	}

	/** Puts a new file in the place of what is there. */
	async replace(table: {readonly sequence: number; readonly slots: readonly Buffer[]}): Promise<void> {
		await replaceFile(this.path, encodeSlotsFile(table));
	}

	/** Writes other slots over those of `present`, durably. */
	async update(present: ReadSlots, slots: readonly Buffer[]): Promise<void> {
		const table = withSlots(present, slots);
		if (present.isDamaged) {
			await this.replace(table);
		} else {
			await this.#write(updateWrites(present, table));
		}
	}

	/** Makes both copies the same after an interrupted update, so that what was given up is in neither. */
	async settle(present: ReadSlots): Promise<void> {
		await this.#write(settlingWrites(present));
	}

	/** Every slot in use is intact and was written by who knew the authority. @throws SessionError `damaged` */
	requireAuthentic(table: ReadSlots, {authority}: AnchorSecrets): void {
		for (const {index, description} of listSlots(table)) {
			if (!description || !isAuthentic(table.slots[index], authority)) {
				throw new SessionError(
					'damaged',
					`slot ${index} in ${this.path} is damaged or was not made by this anchor; remove it with "runtime key remove ${index}"`,
				);
			}
		}
	}

	async #write(writes: readonly CopyWrite[]): Promise<void> {
		const file = await open(this.path, 'r+');
		try {
			for (const {offset, data} of writes) {
				const {bytesWritten} = await file.write(data, 0, data.length, offset);
				if (bytesWritten !== data.length) {
					throw new Error(`only ${bytesWritten} of ${data.length} bytes were written`);
				}

				await file.datasync();
			}
		} finally {
			await file.close();
		}
	}
}
