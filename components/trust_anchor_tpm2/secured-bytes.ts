/** A secured record as bytes, in the record file and in the TPM: generation 0,8 · flags 8,4 · hash 12,32. */
import type {SecuredRecord} from '../lib/anchor/served-store.js';
import {TpmReader, TpmWriter} from './tpm-buffer.js';

/** No superblock yet. */
const emptyFlag = 1;
/** The container is being created. */
const creatingFlag = 2;
const noGenerationFlag = 4;
const hashLength = 32;
export const securedLength = 12 + hashLength;

export interface NumberedRecord {
	/** Counts the records of the anchor, from 1 for the empty one. */
	readonly sequence: number;
	/** Null before the first superblock. */
	readonly secured: SecuredRecord | null;
}

function flagsOf(secured: SecuredRecord | null): number {
	if (!secured) {
		return emptyFlag;
	}

	return (secured.creating ? creatingFlag : 0) | (secured.generation === null ? noGenerationFlag : 0);
}

export function encodeSecured(secured: SecuredRecord | null): Buffer {
	return new TpmWriter()
		.u64(secured?.generation ?? 0)
		.u32(flagsOf(secured))
		.raw(secured?.hash ?? Buffer.alloc(hashLength))
		.bytes();
}

export function decodeSecured(bytes: Uint8Array): SecuredRecord | null {
	const reader = new TpmReader(bytes);
	const generation = reader.u64();
	const flags = reader.u32();
	const hash = Uint8Array.from(reader.raw(hashLength));
	return flags & emptyFlag
		? null
		: {hash, generation: flags & noGenerationFlag ? null : generation, creating: (flags & creatingFlag) !== 0};
}
