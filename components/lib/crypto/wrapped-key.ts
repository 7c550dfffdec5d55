/**
 * Block keys as superblocks hold them: AES-256-CBC with an all-zero IV under the trust anchor's master key (format
 * section 9). The form has no authentication of its own: the superblock's hash in the trust anchor covers it.
 */
import {createCipheriv, createDecipheriv} from 'node:crypto';

const zeroIv = Buffer.alloc(16);

export function wrapKey(masterKey: Uint8Array, blockKey: Uint8Array): Uint8Array {
	const cipher = createCipheriv('aes-256-cbc', masterKey, zeroIv).setAutoPadding(false);
	const wrapped = cipher.update(blockKey);
	// Wipes what it knows of the key.
	cipher.final();
	return wrapped;
}

/** The caller wipes the key. */
export function unwrapKey(masterKey: Uint8Array, wrapped: Uint8Array): Buffer {
	const decipher = createDecipheriv('aes-256-cbc', masterKey, zeroIv).setAutoPadding(false);
	const blockKey = decipher.update(wrapped);
	decipher.final();
	return blockKey;
}
