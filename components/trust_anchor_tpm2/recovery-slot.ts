/**
 * The recovery slot: the master key wrapped with a recovery key. That key needs neither TPM nor passphrase, so it opens
 * the anchor when one of them is lost; it is random, so nothing slow is needed to keep it from being guessed.
 * Layout: nonce 12 · AES-256-GCM ciphertext of the master key 32 · tag 16.
 */
import {createCipheriv, createDecipheriv, hkdfSync} from 'node:crypto';
import {masterKeyLength} from '../lib/anchor/master-keys.js';
import {freshBytes, type Entropy} from './fresh-bytes.js';

const nonceLength = 12;
const tagLength = 16;
const derivationInfo = 'cbe trust anchor tpm2 recovery';
export const recoverySlotLength = nonceLength + masterKeyLength + tagLength;

function withWrappingKey<T>(key: Uint8Array, job: (wrappingKey: Buffer) => T): T {
	const wrappingKey = Buffer.from(hkdfSync('sha256', key, '', derivationInfo, 32));
	try {
		return job(wrappingKey);
	} finally {
		wrappingKey.fill(0);
	}
}

export function wrapForRecovery(key: Uint8Array, masterKey: Uint8Array, env: Entropy): Buffer {
	const nonce = freshBytes(env, nonceLength);
	return withWrappingKey(key, wrappingKey => {
		const cipher = createCipheriv('aes-256-gcm', wrappingKey, nonce);
		return Buffer.concat([nonce, cipher.update(masterKey), cipher.final(), cipher.getAuthTag()]);
	});
}

/** The master key, or undefined where the recovery key is another one's. The caller wipes it. */
export function unwrapForRecovery(key: Uint8Array, slot: Buffer): Buffer | undefined {
	const ciphertext = slot.subarray(nonceLength, slot.length - tagLength);
	return withWrappingKey(key, wrappingKey => {
		const decipher = createDecipheriv('aes-256-gcm', wrappingKey, slot.subarray(0, nonceLength), {
			authTagLength: tagLength,
		});
		decipher.setAuthTag(slot.subarray(slot.length - tagLength));
		const masterKey = decipher.update(ciphertext);
		try {
			decipher.final();
			return masterKey;
		} catch {
			masterKey.fill(0);
			return undefined;
		}
	});
}
