/**
 * The master key under a passphrase as the original stores it: AES-256 key wrap (RFC 3394) under SHA-256 of the
 * passphrase (format section 9). The wrap is authenticated, the hash neither salted nor slow: for the original's
 * containers only.
 */
import {createCipheriv, createDecipheriv, createHash} from 'node:crypto';

const algorithm = 'id-aes256-wrap';
/** RFC 3394 section 2.2.3.1. */
const initialValue = Buffer.alloc(8, 0xa6);

export const wrappedMasterKeyLength = 40;

/** RFC 3394 section 2.2.1. */
export function wrapUnder(encryptionKey: Uint8Array, key: Uint8Array): Buffer {
	const cipher = createCipheriv(algorithm, encryptionKey, initialValue);
	return Buffer.concat([cipher.update(key), cipher.final()]);
}

/** RFC 3394 section 2.2.2; undefined where the key is wrapped under another one or was altered. The caller wipes it. */
export function unwrapUnder(encryptionKey: Uint8Array, wrapped: Uint8Array): Buffer | undefined {
	try {
		const decipher = createDecipheriv(algorithm, encryptionKey, initialValue);
		return Buffer.concat([decipher.update(wrapped), decipher.final()]);
	} catch {
		return undefined;
	}
}

function withPassphraseHash<T>(passphrase: Uint8Array, end: string, job: (encryptionKey: Buffer) => T): T {
	const encryptionKey = createHash('sha256').update(passphrase).update(end).digest();
	try {
		return job(encryptionKey);
	} finally {
		encryptionKey.fill(0);
	}
}

/** The passphrase stays the caller's. */
export function wrapMasterKey(passphrase: Uint8Array, masterKey: Uint8Array): Buffer {
	return withPassphraseHash(passphrase, '', encryptionKey => wrapUnder(encryptionKey, masterKey));
}

/**
 * Undefined where the passphrase is wrong. One of the original's tools hashes the terminating NUL too, so both are
 * tried.
 */
export function unwrapMasterKey(passphrase: Uint8Array, wrapped: Uint8Array): Buffer | undefined {
	return (
		withPassphraseHash(passphrase, '', encryptionKey => unwrapUnder(encryptionKey, wrapped)) ??
		withPassphraseHash(passphrase, '\0', encryptionKey => unwrapUnder(encryptionKey, wrapped))
	);
}
