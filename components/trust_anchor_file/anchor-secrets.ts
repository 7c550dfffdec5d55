/**
 * What all slots give: the authority, which never changes and vouches for slots and records, and the master keys.
 *
 * Payload, 192 bytes: three times master key 32 · hash of the block key wrapped under it 32. Unused ones are zero; the
 * hash of the first master key, under which everything else is, is zero.
 */
import {hkdfSync} from 'node:crypto';
import {masterKeyCountMax, masterKeyLength, wipeMasterKeys, type MasterKey} from '../lib/anchor/master-keys.js';

export const authorityLength = 32;
const entryLength = masterKeyLength + 32;
export const payloadLength = masterKeyCountMax * entryLength;

export interface AnchorSecrets {
	readonly authority: Buffer;
	/** Newest first. */
	readonly masterKeys: readonly MasterKey[];
}

export function wipeSecrets({authority, masterKeys}: AnchorSecrets): void {
	authority.fill(0);
	wipeMasterKeys(masterKeys);
}

export function copySecrets({authority, masterKeys}: AnchorSecrets): AnchorSecrets {
	return {
		authority: Buffer.from(authority),
		masterKeys: masterKeys.map(({key, wrappedHash}) => ({key: Buffer.from(key), wrappedHash})),
	};
}

export type Purpose = 'record' | 'slots';

const infos: Readonly<Record<Purpose, string>> = {record: 'cbe trust anchor record', slots: 'cbe trust anchor slots'};

/** The caller wipes the key. */
export function deriveFrom(authority: Uint8Array, purpose: Purpose): Buffer {
	return Buffer.from(hkdfSync('sha256', authority, '', infos[purpose], 32));
}

/** The caller wipes the result. */
export function encodePayload(masterKeys: readonly MasterKey[]): Buffer {
	const payload = Buffer.alloc(payloadLength);
	for (const [i, {key, wrappedHash}] of masterKeys.entries()) {
		payload.set(key, i * entryLength);
		payload.set(wrappedHash ?? [], i * entryLength + masterKeyLength);
	}

	return payload;
}

/** The caller wipes the payload and the keys, which are copies. */
export function decodePayload(payload: Uint8Array): MasterKey[] {
	const keys: MasterKey[] = [];
	for (let offset = 0; offset < payload.length; offset += entryLength) {
		const key = Buffer.from(payload.subarray(offset, offset + masterKeyLength));
		const wrappedHash = Buffer.from(payload.subarray(offset + masterKeyLength, offset + entryLength));
		if (key.some(byte => byte !== 0)) {
			keys.push({key, wrappedHash: wrappedHash.some(byte => byte !== 0) ? wrappedHash : undefined});
		}
	}

	return keys;
}
