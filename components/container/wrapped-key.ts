/**
 * Block keys as superblocks hold them: AES-256-CBC with an all-zero IV under the trust anchor's master key (format
 * section 9). The form has no authentication of its own: the superblock's hash in the trust anchor covers it.
 */
import {createCipheriv, createDecipheriv} from 'node:crypto';

const zeroIv = Buffer.alloc(16);

export function wrapKey(masterKey: Uint8Array, blockKey: Uint8Array): Uint8Array {
	return createCipheriv('aes-256-cbc', masterKey, zeroIv).setAutoPadding(false).update(blockKey);
}

/** The caller wipes the key. */
export function unwrapKey(masterKey: Uint8Array, wrapped: Uint8Array): Buffer {
	return createDecipheriv('aes-256-cbc', masterKey, zeroIv).setAutoPadding(false).update(wrapped);
}
