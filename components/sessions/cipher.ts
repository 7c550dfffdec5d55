/** The ciphers that containers name, and what each needs. The numbers stand in superblocks: never change one. */
export const ciphers = {
	/** AES-256-CBC with ESSIV, no padding: the original's (format section 9). */
	'aes-256-cbc-essiv': {number: 0},
	/** AES-256-XTS (IEEE 1619), tweak = PBA as 16-byte little-endian, 64-byte key = HKDF-SHA-256 of the block key. */
	'aes-256-xts': {number: 1},
	/**
	 * AES-256-GCM (NIST SP 800-38D), 32-byte key = HKDF-SHA-256 of the block key. The label is no hash but the tag and
	 * the nonce, so a block is bound to its place and its generation; see docs/crypto.md.
	 */
	'aes-256-gcm': {number: 2},
	/** Blocks lie on the medium as they are; only their labels keep them from being altered unnoticed. */
	none: {number: 255},
} as const;

export type CipherName = keyof typeof ciphers;

export const cipherNames = Object.keys(ciphers) as [CipherName, ...CipherName[]];

export function cipherOfNumber(number: number): CipherName | undefined {
	return cipherNames.find(name => ciphers[name].number === number);
}

/** Length of a block key as the trust anchor makes it, in bytes. */
export const blockKeyLength = 32;

/** Length of a label: what a parent node stores about its child, in bytes. */
export {labelLength} from './vocabulary.js';

/** True where tag and nonce are the label: blocks are authenticated by the cipher and not by a hash. */
export function isAuthenticated(cipher: CipherName): boolean {
	return cipher === 'aes-256-gcm';
}

/** The label of an authenticated block: 16 bytes of tag, 12 of nonce, 4 zeroes. */
export const tagLength = 16;
export const nonceLength = 12;

/** HKDF info string of the 32-byte GCM key (RFC 5869; no salt). */
export const gcmKeyInfo = 'cbe aes-256-gcm block key';

/** HKDF info string of the 64-byte XTS key (RFC 5869; no salt). */
export const xtsKeyInfo = 'cbe aes-256-xts block key';
