/** What a crypto server brings along: the ciphers and the label, without keys' whereabouts, sessions or batches. */
import {hkdfSync} from 'node:crypto';
import {xtsKeyInfo, type CipherName} from './cipher.js';

/** Blocks that lie one behind another, with the same distances, in one buffer on either side. */
export interface BlockRun {
	/** PBA of block `i` of the run: `addresses[first + i]`. */
	readonly addresses: ArrayLike<number>;
	readonly first: number;
	readonly count: number;
	readonly plain: Uint8Array;
	readonly plainOffset: number;
	readonly sealed: Uint8Array;
	readonly sealedOffset: number;
}

/** One key, ready to be used for both directions. `plain` and `sealed` of a run may be the same memory. */
export interface PreparedKey {
	encrypt(run: BlockRun): void;
	decrypt(run: BlockRun): void;
	/** Overwrites everything derived from the key. The key must not be used afterwards. */
	wipe(): void;
}

/** Runs have at most `runBlockCountMax` blocks. Keys given to a suite stay their owner's to wipe. */
export interface CipherSuite {
	/** For logs and status. */
	readonly name: string;
	/** Makes a block key ready for a cipher; undefined where the suite does not have the cipher. */
	prepare(cipher: CipherName, blockKey: Uint8Array): PreparedKey | undefined;
	/** SHA-256 of each of `count` blocks, 32 bytes each. */
	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void;
}

const xtsKeyLength = 64;

/** The ciphers that encrypt. */
export abstract class AesSuite implements CipherSuite {
	abstract readonly name: string;

	/** AES-256-XTS, one data unit a block, tweak = PBA; key of 64 bytes. */
	abstract xts(key: Uint8Array): PreparedKey;
	/** AES-256-CBC without padding, IV = AES-256-ECB(SHA-256(key), PBA as 8-byte little-endian + 8 zero bytes); key of 32 bytes. */
	abstract cbcEssiv(key: Uint8Array): PreparedKey;
	abstract label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void;

	prepare(cipher: CipherName, blockKey: Uint8Array): PreparedKey | undefined {
		switch (cipher) {
			case 'aes-256-cbc-essiv': {
				return this.cbcEssiv(blockKey);
			}

			case 'aes-256-xts': {
				return this.#prepareXts(blockKey);
			}

			case 'none': {
				return undefined;
			}
		}
	}

	#prepareXts(blockKey: Uint8Array): PreparedKey {
		const key = Buffer.from(hkdfSync('sha256', blockKey, '', xtsKeyInfo, xtsKeyLength));
		try {
			return this.xts(key);
		} finally {
			key.fill(0);
		}
	}
}

/** The PBA as a little-endian number at the front of a 16-byte IV or tweak whose rest is zero. */
export function writeTweak(tweaks: DataView, index: number, address: number): void {
	const offset = index * tweakLength;
	tweaks.setUint32(offset, address >>> 0, true);
	tweaks.setUint32(offset + 4, Math.floor(address / 2 ** 32), true);
}

/** Length of a tweak, an IV, and an AES block, in bytes. */
export const tweakLength = 16;
