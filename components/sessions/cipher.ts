/** The ciphers that containers name, and what each needs. The numbers stand in superblocks: never change one. */
export const ciphers = {
	/** AES-256-CBC with ESSIV, no padding: the original's (format section 9). */
	'aes-256-cbc-essiv': {number: 0},
	/** AES-256-XTS (IEEE 1619), tweak = PBA as 16-byte little-endian, 64-byte key = HKDF-SHA-256 of the block key. */
	'aes-256-xts': {number: 1},
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
export const labelLength = 32;

/** HKDF info string of the 64-byte XTS key (RFC 5869; no salt). */
export const xtsKeyInfo = 'cbe aes-256-xts block key';
