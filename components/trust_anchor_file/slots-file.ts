/**
 * The file `key_slots`: eight slots, stored twice. An update writes one copy, makes it durable, then writes the other,
 * so that a cut at any byte leaves one of them whole, and a slot that was given up is in neither.
 *
 * Copies lie at 0 and 8192. Copy, offset and size: magic 0,8 · version 8,4 · zero 12,4 · sequence number 16,8 · zero up
 * to 480 · SHA-256 of the rest of the copy 480,32 · eight slots of 512 from 512 on. Numbers are little-endian.
 */
import {createHash} from 'node:crypto';
import {emptySlot, isEmpty, isIntact, slotLength} from './key-slot.js';

const magic = Buffer.from('CBE TA S');
const version = 1;
const checksumOffset = 480;
const headerLength = 512;
export const slotCount = 8;
export const copyLength = headerLength + slotCount * slotLength;
const copyDistance = 8192;
const copyCount = 2;
export const slotsFileLength = (copyCount - 1) * copyDistance + copyLength;

function checksumOf(copy: Buffer): Buffer {
	return createHash('sha256').update(copy.subarray(0, checksumOffset)).update(copy.subarray(headerLength)).digest();
}

export interface SlotTable {
	/** Grows with every change. */
	readonly sequence: number;
	/** `slotCount` slots, the empty ones zero. */
	readonly slots: readonly Buffer[];
}

function encodeCopy({sequence, slots}: SlotTable): Buffer {
	const copy = Buffer.alloc(copyLength);
	magic.copy(copy);
	copy.writeUInt32LE(version, 8);
	copy.writeBigUInt64LE(BigInt(sequence), 16);
	for (const [index, slot] of slots.entries()) {
		copy.set(slot, headerLength + index * slotLength);
	}

	checksumOf(copy).copy(copy, checksumOffset);
	return copy;
}

function copyOffset(index: number): number {
	return index * copyDistance;
}

/** The parts of the file that are written alone. */
export const copyParts = Array.from({length: copyCount}, (_, index) => ({
	offset: copyOffset(index),
	length: copyLength,
}));

/** A file that holds the same table twice. */
export function encodeSlotsFile(table: SlotTable): Buffer {
	const content = Buffer.alloc(slotsFileLength);
	for (let index = 0; index < copyCount; index++) {
		encodeCopy(table).copy(content, copyOffset(index));
	}

	return content;
}

function slotsOf(copy: Buffer): Buffer[] {
	return Array.from({length: slotCount}, (_, index) =>
		Buffer.from(copy.subarray(headerLength + index * slotLength, headerLength + (index + 1) * slotLength)),
	);
}

interface ReadCopy extends SlotTable {
	readonly isWhole: boolean;
}

function readCopy(content: Buffer, index: number): ReadCopy | undefined {
	const copy = content.subarray(copyOffset(index), copyOffset(index) + copyLength);
	if (
		copy.length !== copyLength ||
		!copy.subarray(0, magic.length).equals(magic) ||
		copy.readUInt32LE(8) !== version
	) {
		return undefined;
	}

	return {
		sequence: Number(copy.readBigUInt64LE(16)),
		slots: slotsOf(copy),
		isWhole: checksumOf(copy).equals(copy.subarray(checksumOffset, headerLength)),
	};
}

export interface ReadSlots extends SlotTable {
	/** Which copy has to be written for both to be the same again; undefined where they are. */
	readonly staleCopy: number | undefined;
	/** Neither copy is whole: only slots that are intact by themselves are to be trusted. */
	readonly isDamaged: boolean;
}

/** A slot that is intact in either copy, the newer one first. */
function salvage(copies: readonly ReadCopy[], index: number): Buffer {
	const found = copies.map(({slots}) => slots[index]).filter(slot => isIntact(slot));
	return found.find(slot => !isEmpty(slot)) ?? found.at(0) ?? copies[0].slots[index];
}

/** The newest whole table, or what can be made of damaged ones; undefined where nothing can. */
export function readSlotsFile(content: Buffer): ReadSlots | undefined {
	const read = Array.from({length: copyCount}, (_, index) => readCopy(content, index));
	const whole = read.filter(copy => copy?.isWhole).sort((one, other) => other!.sequence - one!.sequence);
	const newest = whole.at(0);
	if (newest) {
		const stale = read.findIndex(copy => !copy?.isWhole || copy.sequence !== newest.sequence);
		return {
			sequence: newest.sequence,
			slots: newest.slots,
			staleCopy: stale === -1 ? undefined : stale,
			isDamaged: false,
		};
	}

	const damaged = read.filter(copy => copy !== undefined).sort((one, other) => other.sequence - one.sequence);
	if (damaged.length === 0) {
		return undefined;
	}

	const slots = Array.from({length: slotCount}, (_, index) => salvage(damaged, index));
	return {
		sequence: Math.max(0, ...damaged.map(({sequence}) => sequence).filter(Number.isSafeInteger)),
		slots,
		staleCopy: undefined,
		isDamaged: true,
	};
}

/** The table with other slots, and the next number. */
export function withSlots({sequence}: SlotTable, slots: readonly Buffer[]): SlotTable {
	return {sequence: sequence + 1, slots};
}

export interface CopyWrite {
	readonly offset: number;
	readonly data: Buffer;
}

/**
 * What to write to a file that holds `present`, each made durable before the next: the copy that is not whole goes
 * first.
 */
export function updateWrites({staleCopy}: ReadSlots, table: SlotTable): CopyWrite[] {
	const order = staleCopy === 1 ? [1, 0] : [0, 1];
	return order.map(index => ({offset: copyOffset(index), data: encodeCopy(table)}));
}

/** What makes both copies the same again after a cut. */
export function settlingWrites({staleCopy, ...table}: ReadSlots): CopyWrite[] {
	return staleCopy === undefined ? [] : [{offset: copyOffset(staleCopy), data: encodeCopy(table)}];
}

/** A first table; what is not given is empty. */
export function freshTable(given: readonly Buffer[]): SlotTable {
	return {sequence: 1, slots: Array.from({length: slotCount}, (_, index) => given[index] ?? Buffer.from(emptySlot))};
}
