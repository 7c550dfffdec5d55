/**
 * A key slot: one way to open the anchor. What opens it (a passphrase, a recovery key, a key file) unwraps a private
 * key of the slot's own, and with it the master keys, which are sealed to the slot's public key. So the master keys can
 * be renewed for all slots without any passphrase, and who knew an old one learns nothing new.
 *
 * Slot, offset and size: kind 0,4 · derivation 4,4 · log2(N) 8,4 · r 12,4 · p 16,4 · zero 20,4 · salt 24,32 · public
 * key 56,32 · name 88,32 · wrapped (AES-256-GCM of private key and authority) 120,80 · sealed master keys 200,241 ·
 * zero up to 448 · HMAC-SHA-256 of everything before, under a key derived from the authority 448,32 · SHA-256 of
 * everything before 480,32.
 */
import {createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual} from 'node:crypto';
import {secretBytes} from '../../runtime/sdk/secret-memory.js';
import {
	createRecipient,
	EnvelopeError,
	openEnvelope,
	sealEnvelope,
	type RandomBytes,
} from '../lib/crypto/key-envelope.js';
import {
	authorityLength,
	decodePayload,
	deriveFrom,
	encodePayload,
	payloadLength,
	type AnchorSecrets,
} from './anchor-secrets.js';
import {deriveSlotKey, isAcceptable, saltLength, type Derivation} from './slot-derivation.js';

export const slotLength = 512;
export const slotNameLengthMax = 32;

const saltOffset = 24;
const publicKeyOffset = 56;
const publicKeyLength = 32;
const nameOffset = 88;
const wrappedOffset = 120;
const privateKeyLength = 32;
const gcmTagLength = 16;
const gcmKeyLength = 32;
const sealedOffset = wrappedOffset + privateKeyLength + authorityLength + gcmTagLength;
const sealedLength = 1 + 32 + payloadLength + 16;
const macOffset = 448;
const checksumOffset = 480;

const kinds = ['empty', 'passphrase', 'recovery', 'key_file'] as const;
export type SlotKind = Exclude<(typeof kinds)[number], 'empty'>;

/** What is readable of a slot by everybody. */
export interface SlotDescription {
	readonly kind: SlotKind;
	readonly name: string;
	readonly derivation: Derivation;
}

function checksumOf(slot: Buffer): Buffer {
	return createHash('sha256').update(slot.subarray(0, checksumOffset)).digest();
}

function macOf(slot: Buffer, authority: Uint8Array): Buffer {
	const key = deriveFrom(authority, 'slots');
	try {
		return createHmac('sha256', key).update(slot.subarray(0, macOffset)).digest();
	} finally {
		key.fill(0);
	}
}

/** Finishes a slot whose other fields are set. */
function sign(slot: Buffer, authority: Uint8Array): void {
	macOf(slot, authority).copy(slot, macOffset);
	checksumOf(slot).copy(slot, checksumOffset);
}

function sealMasterKeys(slot: Buffer, {masterKeys}: AnchorSecrets, randomBytes: RandomBytes): void {
	const payload = encodePayload(masterKeys);
	try {
		slot.set(
			sealEnvelope(payload, slot.subarray(publicKeyOffset, publicKeyOffset + publicKeyLength), randomBytes),
			sealedOffset,
		);
	} finally {
		payload.fill(0);
	}
}

export const emptySlot: Readonly<Buffer> = Buffer.alloc(slotLength);

export function isEmpty(slot: Buffer): boolean {
	return slot.every(byte => byte === 0);
}

/** True where no bit of the slot has changed since it was written; whoever can write the file can make it so. */
export function isIntact(slot: Buffer): boolean {
	return (
		isEmpty(slot) || (checksumOf(slot).equals(slot.subarray(checksumOffset)) && describeSlot(slot) !== undefined)
	);
}

/** True where the slot was written by who knew the authority. */
export function isAuthentic(slot: Buffer, authority: Uint8Array): boolean {
	return timingSafeEqual(macOf(slot, authority), slot.subarray(macOffset, checksumOffset));
}

function derivationOf(slot: Buffer): Derivation | undefined {
	switch (slot.readUInt32LE(4)) {
		case 1: {
			return {kind: 'hkdf'};
		}

		case 2: {
			return {kind: 'scrypt', logN: slot.readUInt32LE(8), r: slot.readUInt32LE(12), p: slot.readUInt32LE(16)};
		}

		default: {
			return undefined;
		}
	}
}

/** Undefined for an empty slot, and for what this program would not open. */
export function describeSlot(slot: Buffer): SlotDescription | undefined {
	const kind = kinds[slot.readUInt32LE(0)] as (typeof kinds)[number] | undefined;
	const derivation = derivationOf(slot);
	if (!kind || kind === 'empty' || !derivation || !isAcceptable(derivation)) {
		return undefined;
	}

	const name = slot.subarray(nameOffset, nameOffset + slotNameLengthMax);
	const end = name.indexOf(0);
	return {kind, name: name.subarray(0, end === -1 ? slotNameLengthMax : end).toString(), derivation};
}

export interface SlotOptions extends SlotDescription {
	readonly secret: Uint8Array;
}

/** A new slot that `secret` opens. The secrets stay the caller's. */
export async function makeSlot(
	{kind, name, derivation, secret}: SlotOptions,
	secrets: AnchorSecrets,
	randomBytes: RandomBytes,
): Promise<Buffer> {
	const slot = Buffer.alloc(slotLength);
	slot.writeUInt32LE(kinds.indexOf(kind), 0);
	slot.writeUInt32LE(derivation.kind === 'hkdf' ? 1 : 2, 4);
	if (derivation.kind === 'scrypt') {
		slot.writeUInt32LE(derivation.logN, 8);
		slot.writeUInt32LE(derivation.r, 12);
		slot.writeUInt32LE(derivation.p, 16);
	}

	const salt = randomBytes(saltLength);
	slot.set(salt, saltOffset);
	salt.fill(0);
	slot.write(name, nameOffset, slotNameLengthMax);
	const opened = secretBytes(privateKeyLength + authorityLength);
	const drawn = randomBytes(privateKeyLength);
	opened.set(drawn);
	opened.set(secrets.authority, privateKeyLength);
	// `createRecipient` wipes what it is given.
	slot.set(createRecipient(() => drawn).publicKey, publicKeyOffset);
	const derived = await deriveSlotKey(secret, slot.subarray(saltOffset, saltOffset + saltLength), derivation);
	try {
		const cipher = createCipheriv('aes-256-gcm', derived.subarray(0, gcmKeyLength), derived.subarray(gcmKeyLength));
		cipher.setAAD(slot.subarray(0, wrappedOffset));
		slot.set(Buffer.concat([cipher.update(opened), cipher.final(), cipher.getAuthTag()]), wrappedOffset);
	} finally {
		derived.fill(0);
		opened.fill(0);
	}

	sealMasterKeys(slot, secrets, randomBytes);
	sign(slot, secrets.authority);
	return slot;
}

/** The same slot with other master keys; what opens it stays. */
export function resealSlot(slot: Buffer, secrets: AnchorSecrets, randomBytes: RandomBytes): Buffer {
	const resealed = Buffer.from(slot);
	sealMasterKeys(resealed, secrets, randomBytes);
	sign(resealed, secrets.authority);
	return resealed;
}

/** Private key and authority, or undefined where `derived` is not the slot's key. The caller wipes them. */
function unwrap(slot: Buffer, derived: Buffer): Buffer | undefined {
	const decipher = createDecipheriv(
		'aes-256-gcm',
		derived.subarray(0, gcmKeyLength),
		derived.subarray(gcmKeyLength),
		{authTagLength: gcmTagLength},
	);
	decipher.setAAD(slot.subarray(0, wrappedOffset));
	decipher.setAuthTag(slot.subarray(sealedOffset - gcmTagLength, sealedOffset));
	const opened = decipher.update(slot.subarray(wrappedOffset, sealedOffset - gcmTagLength));
	try {
		decipher.final();
		return opened;
	} catch {
		opened.fill(0);
		return undefined;
	}
}

function openSealed(slot: Buffer, opened: Buffer): AnchorSecrets | undefined {
	const authority = Buffer.from(opened.subarray(privateKeyLength));
	const recipient = createRecipient(() => Buffer.from(opened.subarray(0, privateKeyLength)));
	if (!isAuthentic(slot, authority)) {
		authority.fill(0);
		return undefined;
	}

	try {
		const payload = openEnvelope(slot.subarray(sealedOffset, sealedOffset + sealedLength), recipient);
		try {
			return {authority, masterKeys: decodePayload(payload)};
		} finally {
			payload.fill(0);
		}
	} catch (error) {
		authority.fill(0);
		if (error instanceof EnvelopeError) {
			return undefined;
		}

		throw error;
	}
}

/** The caller wipes the secrets. `altered`: the secret is right, but the slot was changed by who did not know it. */
export type OpenedSlot = AnchorSecrets | 'wrong' | 'altered';

export async function openSlot(slot: Buffer, {derivation}: SlotDescription, secret: Uint8Array): Promise<OpenedSlot> {
	const derived = await deriveSlotKey(secret, slot.subarray(saltOffset, saltOffset + saltLength), derivation);
	let opened: Buffer | undefined;
	try {
		opened = unwrap(slot, derived);
		return opened ? (openSealed(slot, opened) ?? 'altered') : 'wrong';
	} finally {
		derived.fill(0);
		opened?.fill(0);
	}
}
