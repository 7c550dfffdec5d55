/**
 * What the NV index holds: the record of the superblock that was the newest when the index was written.
 * Offset, size: epoch 0,8 · sequence number 8,8 · generation 16,8 · flags 24,4 · hash 28,32. The epoch counts how often
 * the index has been written. Flags as in the record file.
 */
import {createHash} from 'node:crypto';
import {decodeSecured, encodeSecured, securedLength, type NumberedRecord} from './secured-bytes.js';
import {TpmReader, TpmWriter} from './tpm-buffer.js';

export interface NvContent extends NumberedRecord {
	readonly epoch: number;
}

export const nvContentLength = 16 + securedLength;

export function encodeNvContent({epoch, sequence, secured}: NvContent): Buffer {
	return new TpmWriter().u64(epoch).u64(sequence).raw(encodeSecured(secured)).bytes();
}

export function decodeNvContent(bytes: Uint8Array): NvContent {
	const reader = new TpmReader(bytes);
	const epoch = reader.u64();
	const sequence = reader.u64();
	return {epoch, sequence, secured: decodeSecured(reader.raw(securedLength))};
}

/** What a record that follows this content is chained to. */
export interface ChainLink {
	readonly epoch: number;
	readonly digest: Buffer;
}

export const linkDigestLength = 32;

export function linkTo(content: NvContent): ChainLink {
	return {epoch: content.epoch, digest: createHash('sha256').update(encodeNvContent(content)).digest()};
}
