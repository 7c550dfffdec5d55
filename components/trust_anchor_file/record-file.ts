/**
 * The record of the newest superblock: one file with two slots that are written in turn, so that a torn write leaves
 * the other one. The record with sequence number n lies in slot n mod 2, at n mod 2 times 4096, twice: in the slot's
 * first sector and in its second. A write that is torn anywhere leaves one copy whole, of this record or of the one
 * before the last, so a slot without an intact copy is damage, and nobody knows whether the newest record was in it.
 *
 * Copy, offset and size: magic 0,8 · version 8,4 · flags 12,4 · sequence number 16,8 · generation 24,8 · hash 32,32 ·
 * announced hash 64,32 · HMAC-SHA-256 of everything before 96,32 · zero up to 512. Flags: 1 = no superblock yet, 2 =
 * creating, 4 = no generation, 8 = written with key slots: without their file the key file alone must not be believed,
 * since master keys may be newer, 16 = a superblock was announced, 32 = superblocks carry authenticators. Version 1
 * announces nothing: its HMAC stands at 64.
 */
import {createHmac, timingSafeEqual} from 'node:crypto';
import {freshMarks, type RecordMarks, type SecuredRecord} from '../lib/anchor/served-store.js';

const magic = Buffer.from('CBE TA R');
const version = 2;
const emptyFlag = 1;
const creatingFlag = 2;
const noGenerationFlag = 4;
const slotsFlag = 8;
const announcedFlag = 16;
const authenticatedFlag = 32;
const announcedOffset = 64;
/** By version. */
const macOffsets: Readonly<Record<number, number>> = {1: 64, [version]: 96};
const macLength = 32;

/** One sector, which media write as a whole or not at all. */
const copyLength = 512;
const copyCount = 2;
/** What is written at once. */
export const slotLength = copyCount * copyLength;
/** Slots lie on pages of their own, so that no write touches the other's. */
const slotDistance = 4096;
const slotCount = 2;
export const recordFileLength = (slotCount - 1) * slotDistance + slotLength;
/** Files of earlier versions have one copy of each record; the second ones come with the next writes. */
const singleCopyFileLength = recordFileLength - copyLength;

export interface NumberedRecord {
	readonly sequence: number;
	/** Null before the first superblock. */
	readonly secured: SecuredRecord | null;
	/** There were key slots when it was written. */
	readonly hasSlots: boolean;
	readonly marks: RecordMarks;
}

export function slotOffset(sequence: number): number {
	return (sequence % slotCount) * slotDistance;
}

function macOf(slot: Buffer, macOffset: number, recordKey: Uint8Array): Buffer {
	return createHmac('sha256', recordKey).update(slot.subarray(0, macOffset)).digest();
}

function flagsOf(secured: SecuredRecord | null): number {
	if (!secured) {
		return emptyFlag;
	}

	return (secured.creating ? creatingFlag : 0) | (secured.generation === null ? noGenerationFlag : 0);
}

function markFlagsOf({intended, authenticated}: RecordMarks): number {
	return (intended ? announcedFlag : 0) | (authenticated ? authenticatedFlag : 0);
}

export function encodeSlot({sequence, secured, hasSlots, marks}: NumberedRecord, recordKey: Uint8Array): Buffer {
	const slot = Buffer.alloc(slotLength);
	magic.copy(slot);
	slot.writeUInt32LE(version, 8);
	slot.writeUInt32LE(flagsOf(secured) | markFlagsOf(marks) | (hasSlots ? slotsFlag : 0), 12);
	slot.writeBigUInt64LE(BigInt(sequence), 16);
	slot.writeBigUInt64LE(BigInt(secured?.generation ?? 0), 24);
	slot.set(secured?.hash ?? [], 32);
	slot.set(marks.intended ?? [], announcedOffset);
	macOf(slot, macOffsets[version], recordKey).copy(slot, macOffsets[version]);
	slot.copy(slot, copyLength, 0, copyLength);
	return slot;
}

function decodeCopy(slot: Buffer, recordKey: Uint8Array): NumberedRecord | undefined {
	const macOffset =
		slot.length === copyLength && slot.subarray(0, magic.length).equals(magic)
			? macOffsets[slot.readUInt32LE(8)]
			: undefined;
	if (
		macOffset === undefined ||
		!timingSafeEqual(macOf(slot, macOffset, recordKey), slot.subarray(macOffset, macOffset + macLength))
	) {
		return undefined;
	}

	const flags = slot.readUInt32LE(12);
	const sequence = Number(slot.readBigUInt64LE(16));
	const hasSlots = (flags & slotsFlag) !== 0;
	if (flags & emptyFlag) {
		return {sequence, secured: null, hasSlots, marks: freshMarks};
	}

	const marks = {
		intended: flags & announcedFlag ? Uint8Array.from(slot.subarray(announcedOffset, announcedOffset + 32)) : null,
		announces: slot.readUInt32LE(8) === version,
		authenticated: (flags & authenticatedFlag) !== 0,
	};

	const generation = flags & noGenerationFlag ? null : Number(slot.readBigUInt64LE(24));
	return {
		sequence,
		secured: {hash: Uint8Array.from(slot.subarray(32, 64)), generation, creating: (flags & creatingFlag) !== 0},
		hasSlots,
		marks,
	};
}

function slotAt(content: Buffer, index: number): Buffer {
	return content.subarray(index * slotDistance, index * slotDistance + slotLength);
}

/** A record file before the first superblock. */
export function encodeEmptyRecordFile(recordKey: Uint8Array): Buffer {
	const content = Buffer.alloc(recordFileLength);
	for (let sequence = 0; sequence < slotCount; sequence++) {
		encodeSlot({sequence, secured: null, hasSlots: false, marks: freshMarks}, recordKey).copy(
			content,
			slotOffset(sequence),
		);
	}

	return content;
}

/** The parts of the file that are written alone. */
export const recordParts = Array.from({length: slotCount}, (_, index) => ({
	offset: index * slotDistance,
	length: slotLength,
}));

/** A write never makes the file shorter: a shorter file has lost records that may be the newest. */
function hasWholeLength({length}: Buffer): boolean {
	return length === recordFileLength || length === singleCopyFileLength;
}

/** True where no superblock was ever recorded. Needs no key: it only decides about a file that nothing depends on. */
export function looksEmpty(content: Buffer): boolean {
	return (
		hasWholeLength(content) &&
		[0, 1].every(
			index =>
				slotAt(content, index).subarray(0, magic.length).equals(magic) &&
				(slotAt(content, index).readUInt32LE(12) & emptyFlag) !== 0,
		)
	);
}

export interface ReadRecord {
	readonly newest: NumberedRecord;
	/** One copy of a record cannot be read: a write was interrupted, or the file is damaged. */
	readonly copyLost: boolean;
}

interface ReadSlot {
	/** Of the intact copies. */
	readonly newest: NumberedRecord;
	readonly copyLost: boolean;
}

function readSlot(slot: Buffer, index: number, recordKey: Uint8Array): ReadSlot | undefined {
	const records: NumberedRecord[] = [];
	let copyLost = false;
	for (let start = 0; start < slot.length; start += copyLength) {
		const copy = slot.subarray(start, start + copyLength);
		const record = decodeCopy(copy, recordKey);
		if (record && record.sequence % slotCount === index) {
			records.push(record);
		} else if (start === 0 || copy.some(byte => byte !== 0)) {
			copyLost = true;
		}
	}

	records.sort((one, other) => other.sequence - one.sequence);
	return records.length === 0 ? undefined : {newest: records[0], copyLost};
}

/** The newest record, or undefined where nobody can know it. */
export function readRecordFile(content: Buffer, recordKey: Uint8Array): ReadRecord | undefined {
	if (!hasWholeLength(content)) {
		return undefined;
	}

	const [even, odd] = [0, 1].map(index => readSlot(slotAt(content, index), index, recordKey));
	if (!even || !odd) {
		return undefined;
	}

	const {newest} = even.newest.sequence > odd.newest.sequence ? even : odd;
	return {newest, copyLost: even.copyLost || odd.copyLost};
}
