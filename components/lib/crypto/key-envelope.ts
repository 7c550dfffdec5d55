/**
 * Envelopes that carry a secret to one recipient, past everything in between: a block key from the trust anchor to a
 * crypto server, a passphrase from whoever asked for it to the trust anchor.
 *
 * Layout: version 1 (1 byte) · ephemeral X25519 public key (32) · AES-256-GCM ciphertext of the key · tag (16). The GCM
 * key and nonce come from HKDF-SHA-256 over the shared secret, salted with both public keys; as every envelope has its
 * own ephemeral key, no nonce repeats. Version and ephemeral key are authenticated too.
 */
import {
	createCipheriv,
	createDecipheriv,
	createPrivateKey,
	createPublicKey,
	diffieHellman,
	hkdfSync,
	type KeyObject,
} from 'node:crypto';

const version = 1;
const publicKeyLength = 32;
const tagLength = 16;
const headerLength = 1 + publicKeyLength;
const gcmKeyLength = 32;
const gcmNonceLength = 12;
const derivationInfo = 'cbe key envelope 1';

/** RFC 8410: what stands before the 32 raw bytes of an X25519 key in DER. */
const privateKeyPrefix = Buffer.from('302e020100300506032b656e04220420', 'hex');
const publicKeyPrefix = Buffer.from('302a300506032b656e032100', 'hex');

/** The envelope or the public key cannot be what it should be; the message never tells more. */
export class EnvelopeError extends Error {
	override readonly name = 'EnvelopeError';
}

/** Who can open envelopes made for `publicKey`. */
export interface EnvelopeRecipient {
	/** X25519, 32 bytes. */
	readonly publicKey: Uint8Array;
	readonly privateKey: KeyObject;
}

export type RandomBytes = (count: number) => Uint8Array;

export function createRecipient(randomBytes: RandomBytes): EnvelopeRecipient {
	const secret = randomBytes(32);
	const der = Buffer.concat([privateKeyPrefix, secret]);
	try {
		const privateKey = createPrivateKey({key: der, format: 'der', type: 'pkcs8'});
		const publicKey = createPublicKey(privateKey)
			.export({format: 'der', type: 'spki'})
			.subarray(publicKeyPrefix.length);
		return {publicKey: new Uint8Array(publicKey), privateKey};
	} finally {
		der.fill(0);
		secret.fill(0);
	}
}

function publicKeyOf(raw: Uint8Array): KeyObject {
	return createPublicKey({key: Buffer.concat([publicKeyPrefix, raw]), format: 'der', type: 'spki'});
}

/** GCM key and nonce of one envelope. The caller wipes them. */
function deriveSecrets(privateKey: KeyObject, peer: Uint8Array, ephemeral: Uint8Array, recipient: Uint8Array): Buffer {
	// Fails for public keys of low order, whose shared secret everybody knows.
	const shared = diffieHellman({privateKey, publicKey: publicKeyOf(peer)});
	try {
		return Buffer.from(
			hkdfSync(
				'sha256',
				shared,
				Buffer.concat([ephemeral, recipient]),
				derivationInfo,
				gcmKeyLength + gcmNonceLength,
			),
		);
	} finally {
		shared.fill(0);
	}
}

/** Seals `key` so that only the holder of the private key behind `recipientPublicKey` can read it. */
export function sealEnvelope(key: Uint8Array, recipientPublicKey: Uint8Array, randomBytes: RandomBytes): Uint8Array {
	const ephemeral = createRecipient(randomBytes);
	const header = Buffer.concat([Buffer.of(version), ephemeral.publicKey]);
	let secrets: Buffer;
	try {
		secrets = deriveSecrets(ephemeral.privateKey, recipientPublicKey, ephemeral.publicKey, recipientPublicKey);
	} catch {
		throw new EnvelopeError('the recipient is no usable X25519 public key');
	}

	try {
		const cipher = createCipheriv('aes-256-gcm', secrets.subarray(0, gcmKeyLength), secrets.subarray(gcmKeyLength));
		cipher.setAAD(header);
		return Buffer.concat([header, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
	} finally {
		secrets.fill(0);
	}
}

/** The key inside the envelope. The caller wipes it. */
export function openEnvelope(envelope: Uint8Array, recipient: EnvelopeRecipient): Buffer {
	if (envelope.length <= headerLength + tagLength || envelope[0] !== version) {
		throw new EnvelopeError('this is no key envelope of version 1');
	}

	const header = envelope.subarray(0, headerLength);
	const ephemeral = header.subarray(1);
	let secrets: Buffer | undefined;
	try {
		secrets = deriveSecrets(recipient.privateKey, ephemeral, ephemeral, recipient.publicKey);
		const decipher = createDecipheriv(
			'aes-256-gcm',
			secrets.subarray(0, gcmKeyLength),
			secrets.subarray(gcmKeyLength),
			{authTagLength: tagLength},
		);
		decipher.setAAD(header);
		decipher.setAuthTag(envelope.subarray(envelope.length - tagLength));
		const key = decipher.update(envelope.subarray(headerLength, envelope.length - tagLength));
		try {
			decipher.final();
		} catch (error) {
			key.fill(0);
			throw error;
		}

		return key;
	} catch {
		throw new EnvelopeError('the envelope was made for another recipient, or was altered');
	} finally {
		secrets?.fill(0);
	}
}
