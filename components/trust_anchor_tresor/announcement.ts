/**
 * The file `superblock_hash.announced`, 128 bytes: hash of the superblock that counts 0,32 · hash of the one about to
 * be written, or zero 32,32 · 1 where superblocks carry authenticators 64,1 · zero 65,31 · SHA-256 of everything before
 * 96,32.
 *
 * It counts where `superblock_hash` is one of its two hashes. Else the original has written superblocks since, which
 * announces nothing.
 */
import {createHash} from 'node:crypto';
import type {RecordMarks, SecuredRecord} from '../lib/anchor/served-store.js';

const hashLength = 32;
const flagsOffset = 64;
const checksumOffset = 96;
export const announcementLength = checksumOffset + hashLength;

function checksumOf(content: Uint8Array): Buffer {
	return createHash('sha256').update(content.subarray(0, checksumOffset)).digest();
}

export function encodeAnnouncement(record: SecuredRecord | null, {intended, authenticated}: RecordMarks): Buffer {
	const content = Buffer.alloc(announcementLength);
	content.set(record?.hash ?? [], 0);
	content.set(intended ?? [], hashLength);
	content[flagsOffset] = authenticated ? 1 : 0;
	checksumOf(content).copy(content, checksumOffset);
	return content;
}

/** What the file says of the record. */
export function decodeAnnouncement(content: Buffer | undefined, secured: SecuredRecord | null): RecordMarks {
	const isWhole =
		content?.length === announcementLength && checksumOf(content).equals(content.subarray(checksumOffset));
	const authenticated = isWhole && content[flagsOffset] === 1;
	if (!secured) {
		return {intended: null, announces: true, authenticated};
	}

	const announced = isWhole
		? Uint8Array.from(content.subarray(hashLength, 2 * hashLength))
		: new Uint8Array(hashLength);
	const [isBase, isAnnounced] = [content?.subarray(0, hashLength), announced].map(
		hash => isWhole && Buffer.from(secured.hash).equals(hash!),
	);
	return {
		intended: isBase && announced.some(byte => byte !== 0) ? announced : null,
		announces: isBase || isAnnounced,
		authenticated,
	};
}

/** True where the file says already whether superblocks carry authenticators. */
export function carriesMark(content: Uint8Array, {authenticated}: RecordMarks): boolean {
	return content.some(byte => byte !== 0) && (content[flagsOffset] === 1) === authenticated;
}
