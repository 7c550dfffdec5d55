/**
 * The file `newest_superblock`: two slots that are written in turn, so that a torn write leaves the other one. The
 * record with sequence number n lies in slot n mod 2, at n mod 2 times 4096.
 *
 * Slot, big-endian, offset and size: magic 0,8 · version 8,4 · sequence number 12,8 · generation 20,8 · flags 28,4 ·
 * hash 32,32 · epoch of the NV content it follows 64,8 · digest of that content 72,32 · announced hash, or zero 104,32
 * · 1 where superblocks carry authenticators 136,4 · HMAC-SHA-256 of everything before 140,32 · zero up to 512. The
 * HMAC's key comes from the master key. Version 1 announces nothing: its HMAC stands at 104.
 */
import {createHmac, timingSafeEqual} from 'node:crypto';
import type {RecordMarks} from '../lib/anchor/served-store.js';
import {linkDigestLength, type ChainLink} from './nv-content.js';
import {decodeSecured, encodeSecured, securedLength, type NumberedRecord} from './secured-bytes.js';
import {TpmError} from './tpm-error.js';
import {TpmReader, TpmWriter} from './tpm-buffer.js';

const magic = Buffer.from('CBE TA W');
const version = 2;
/** By version. */
const macOffsets: Readonly<Record<number, number>> = {1: 104, [version]: 140};
const hashLength = 32;
const macLength = 32;

/** What is written at once: one sector. */
export const slotLength = 512;
/** Slots lie on pages of their own, so that no write touches the other's. */
const slotDistance = 4096;
const slotCount = 2;
export const recordFileLength = (slotCount - 1) * slotDistance + slotLength;

export interface ChainedRecord extends NumberedRecord {
	/** The TPM's content when the record was written: no older one and no newer one goes with it. */
	readonly link: ChainLink;
	readonly marks: RecordMarks;
}

export function slotOffset(sequence: number): number {
	return (sequence % slotCount) * slotDistance;
}

function macOf(content: Uint8Array, recordKey: Uint8Array): Buffer {
	return createHmac('sha256', recordKey).update(content).digest();
}

export function encodeSlot({sequence, secured, link, marks}: ChainedRecord, recordKey: Uint8Array): Buffer {
	const content = new TpmWriter()
		.raw(magic)
		.u32(version)
		.u64(sequence)
		.raw(encodeSecured(secured))
		.u64(link.epoch)
		.raw(link.digest)
		.raw(marks.intended ?? Buffer.alloc(hashLength))
		.u32(marks.authenticated ? 1 : 0)
		.bytes();
	const slot = Buffer.alloc(slotLength);
	content.copy(slot);
	macOf(content, recordKey).copy(slot, content.length);
	return slot;
}

function readMarks(reader: TpmReader): RecordMarks {
	const announced = Uint8Array.from(reader.raw(hashLength));
	return {
		intended: announced.some(byte => byte !== 0) ? announced : null,
		announces: true,
		authenticated: reader.u32() === 1,
	};
}

function decodeSlot(slot: Buffer, recordKey: Uint8Array): ChainedRecord | undefined {
	const macOffset = macOffsets[slot.readUInt32BE(magic.length)];
	if (
		macOffset === undefined ||
		!timingSafeEqual(macOf(slot.subarray(0, macOffset), recordKey), slot.subarray(macOffset, macOffset + macLength))
	) {
		return undefined;
	}

	const reader = new TpmReader(slot);
	if (!reader.raw(magic.length).equals(magic)) {
		return undefined;
	}

	const found = reader.u32();

	try {
		const sequence = reader.u64();
		const secured = decodeSecured(reader.raw(securedLength));
		const link = {epoch: reader.u64(), digest: Buffer.from(reader.raw(linkDigestLength))};
		return {
			sequence,
			secured,
			link,
			marks: found === version ? readMarks(reader) : {intended: null, announces: false, authenticated: false},
		};
	} catch (error) {
		if (error instanceof TpmError) {
			return undefined;
		}

		throw error;
	}
}

/** The parts of the file that are written alone. */
export const recordParts = Array.from({length: slotCount}, (_, index) => ({
	offset: index * slotDistance,
	length: slotLength,
}));

/** A record file before the first superblock; its other slot stays empty until then. */
export function encodeFirstRecordFile(first: ChainedRecord, recordKey: Uint8Array): Buffer {
	const content = Buffer.alloc(recordFileLength);
	encodeSlot(first, recordKey).copy(content, slotOffset(first.sequence));
	return content;
}

/** The authentic records in a file. */
export function readRecordFile(content: Buffer, recordKey: Uint8Array): ChainedRecord[] {
	// An interrupted write never changes the file's length: a shorter file has lost records that may be the newest.
	if (content.length !== recordFileLength) {
		return [];
	}

	return Array.from({length: slotCount}, (_, index) =>
		decodeSlot(content.subarray(index * slotDistance, index * slotDistance + slotLength), recordKey),
	).filter((record, index) => record !== undefined && record.sequence % slotCount === index) as ChainedRecord[];
}
