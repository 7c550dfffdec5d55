/**
 * The file `sealed_key`. Integers are big-endian, "sized" is a length of two bytes and the content:
 * magic 8 bytes · version 4 · demands a passphrase 1 · scrypt salt 32, log2 of N 1, r 1, p 1 · number of PCRs 1, for
 * each its number 1 and SHA-256 value 32 · name of the TPM's storage key, sized · public and private area of the sealed
 * master key, sized · NV index 4 · recovery slot, sized, empty without one · SHA-256 of everything before 32.
 *
 * The checksum finds damage. Whoever alters the file on purpose gets an anchor that does not open: the TPM checks the
 * sealed key, and the NV index answers only to who has the right master key.
 */
import {createHash} from 'node:crypto';
import type {PcrValue} from './key-policy.js';
import {isUsableNvHandle} from './nv-index.js';
import {isAffordable, saltLength, type ScryptCost} from './passphrase-auth.js';
import {recoverySlotLength} from './recovery-slot.js';
import type {SealedObject} from './tpm-commands.js';
import {TpmError} from './tpm-error.js';
import {TpmReader, TpmWriter} from './tpm-buffer.js';

const magic = Buffer.from('CBE TA S');
const version = 1;
const checksumLength = 32;
const pcrValueLength = 32;
export const pcrCount = 24;
/** More than the largest one has. */
export const keyFileLengthMax = 4096;

export interface KeyFile {
	readonly demandsPassphrase: boolean;
	readonly salt: Buffer;
	readonly cost: ScryptCost;
	readonly pcrValues: readonly PcrValue[];
	/** Tells the TPM, and its owner's seed, from every other one. */
	readonly storageKeyName: Buffer;
	readonly sealed: SealedObject;
	readonly nvHandle: number;
	readonly recoverySlot: Buffer | undefined;
}

function checksumOf(content: Uint8Array): Buffer {
	return createHash('sha256').update(content).digest();
}

export function encodeKeyFile(file: KeyFile): Buffer {
	const writer = new TpmWriter()
		.raw(magic)
		.u32(version)
		.u8(file.demandsPassphrase ? 1 : 0)
		.raw(file.salt)
		.u8(file.cost.costLog2)
		.u8(file.cost.blockSize)
		.u8(file.cost.parallelization)
		.u8(file.pcrValues.length);
	for (const {pcr, value} of file.pcrValues) {
		writer.u8(pcr).raw(value);
	}

	const content = writer
		.sized(file.storageKeyName)
		.sized(file.sealed.publicArea)
		.sized(file.sealed.privateArea)
		.u32(file.nvHandle)
		.sized(file.recoverySlot ?? Buffer.alloc(0))
		.bytes();
	return Buffer.concat([content, checksumOf(content)]);
}

function readPcrValues(reader: TpmReader): PcrValue[] {
	return Array.from({length: reader.u8()}, () => ({pcr: reader.u8(), value: reader.raw(pcrValueLength)}));
}

function readFields(reader: TpmReader): KeyFile {
	const demandsPassphrase = reader.u8() === 1;
	const salt = reader.raw(saltLength);
	const cost = {costLog2: reader.u8(), blockSize: reader.u8(), parallelization: reader.u8()};
	const pcrValues = readPcrValues(reader);
	const storageKeyName = reader.sized();
	const sealed = {publicArea: reader.sized(), privateArea: reader.sized()};
	const nvHandle = reader.u32();
	const slot = reader.sized();
	reader.end();
	return {
		demandsPassphrase,
		salt,
		cost,
		pcrValues,
		storageKeyName,
		sealed,
		nvHandle,
		recoverySlot: slot.length > 0 ? slot : undefined,
	};
}

function faultOf({cost, pcrValues, nvHandle, recoverySlot}: KeyFile): string | undefined {
	if (!isAffordable(cost)) {
		return 'its scrypt parameters are out of bounds';
	}

	if (pcrValues.some(({pcr}) => pcr >= pcrCount)) {
		return 'it names a PCR that does not exist';
	}

	if (!isUsableNvHandle(nvHandle)) {
		return "its NV index is none of the owner's";
	}

	return recoverySlot && recoverySlot.length !== recoverySlotLength
		? 'its recovery slot has a wrong length'
		: undefined;
}

export type DecodedKeyFile = {readonly file: KeyFile} | {readonly fault: string};

export function decodeKeyFile(content: Buffer): DecodedKeyFile {
	if (!content.subarray(0, magic.length).equals(magic)) {
		return {fault: 'it is no sealed key'};
	}

	const body = content.subarray(0, Math.max(0, content.length - checksumLength));
	if (!checksumOf(body).equals(content.subarray(body.length))) {
		return {fault: 'it is cut off or altered: its checksum does not match'};
	}

	try {
		const reader = new TpmReader(body.subarray(magic.length));
		const found = reader.u32();
		if (found !== version) {
			return {fault: `its version is ${found}, this program knows version ${version}`};
		}

		const file = readFields(reader);
		const fault = faultOf(file);
		return fault ? {fault} : {file};
	} catch (error) {
		if (error instanceof TpmError) {
			return {fault: error.message};
		}

		throw error;
	}
}
