/** What a crypto server brings along: the ciphers and the label, without keys' whereabouts, sessions or batches. */
import {hkdfSync} from 'node:crypto';
import {gcmKeyInfo, nonceLength, tagLength, xtsKeyInfo, labelLength, type CipherName} from '../../sessions/cipher.js';

/** Blocks that lie one behind another, with the same distances, in one buffer on either side. */
export interface BlockRun {
	/** PBA of block `i` of the run: `addresses[first + i]`; its VBA and its node's generation likewise. */
	readonly addresses: ArrayLike<number>;
	readonly vbas: ArrayLike<number>;
	readonly generations: ArrayLike<number>;
	readonly first: number;
	readonly count: number;
	readonly plain: Uint8Array;
	readonly plainOffset: number;
	readonly sealed: Uint8Array;
	readonly sealedOffset: number;
}

interface WipeableKey {
	/** Overwrites everything derived from the key. The key must not be used afterwards. */
	wipe(): void;
}

/** A key of a cipher whose blocks are labelled with a hash. `plain` and `sealed` of a run may be the same memory. */
export interface CipherKey extends WipeableKey {
	encrypt(run: BlockRun): void;
	decrypt(run: BlockRun): void;
}

/**
 * A key of an authenticated cipher. `labels` are those of the whole batch. Sealing finds a nonce in each label, which
 * nobody has used before, and adds the tag; opening returns the indexes in the run of what does not match, whose part
 * of `plain` is zeroed.
 */
export interface AuthenticatedKey extends WipeableKey {
	seal(run: BlockRun, labels: Uint8Array): void;
	open(run: BlockRun, labels: Uint8Array): number[];
}

/** One key, ready to be used for both directions. */
export type PreparedKey = CipherKey | AuthenticatedKey;

export function isAuthenticatedKey(key: PreparedKey): key is AuthenticatedKey {
	return 'seal' in key;
}

/** Runs have at most `runBlockCountMax` blocks. Keys given to a suite stay their owner's to wipe. */
export interface CipherSuite {
	/** For logs and status. */
	readonly name: string;
	/** Makes a block key ready for a cipher; undefined where the suite does not have the cipher. */
	prepare(cipher: CipherName, blockKey: Uint8Array, keyId: number): PreparedKey | undefined;
	/** SHA-256 of each of `count` blocks, 32 bytes each. */
	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void;
}

const xtsKeyLength = 64;
const gcmKeyLength = 32;

/** The ciphers that encrypt. */
export abstract class AesSuite implements CipherSuite {
	abstract readonly name: string;

	/** AES-256-XTS, one data unit a block, tweak = PBA; key of 64 bytes. */
	abstract xts(key: Uint8Array): CipherKey;
	/**
	 * AES-256-CBC without padding, IV = AES-256-ECB(SHA-256(key), PBA as 8-byte little-endian + 8 zero bytes); key of
	 * 32 bytes.
	 */
	abstract cbcEssiv(key: Uint8Array): CipherKey;
	/** AES-256-GCM with the associated data of `writeContext`; key of 32 bytes. */
	abstract gcm(key: Uint8Array, keyId: number): AuthenticatedKey;
	abstract label(
		sealed: Uint8Array,
		sealedOffset: number,
		count: number,
		labels: Uint8Array,
		labelsOffset: number,
	): void;

	prepare(cipher: CipherName, blockKey: Uint8Array, keyId: number): PreparedKey | undefined {
		switch (cipher) {
			case 'aes-256-cbc-essiv': {
				return this.cbcEssiv(blockKey);
			}

			case 'aes-256-xts': {
				return withDerivedKey(blockKey, {info: xtsKeyInfo, length: xtsKeyLength}, key => this.xts(key));
			}

			case 'aes-256-gcm': {
				return withDerivedKey(blockKey, {info: gcmKeyInfo, length: gcmKeyLength}, key => this.gcm(key, keyId));
			}

			case 'none': {
				return undefined;
			}
		}
	}
}

function withDerivedKey<T>(
	blockKey: Uint8Array,
	{info, length}: {info: string; length: number},
	job: (key: Uint8Array) => T,
): T {
	const key = Buffer.from(hkdfSync('sha256', blockKey, '', info, length));
	try {
		return job(key);
	} finally {
		key.fill(0);
	}
}

/** The PBA as a little-endian number at the front of a 16-byte IV or tweak whose rest is zero. */
export function writeTweak(tweaks: DataView, index: number, address: number): void {
	writeNumber(tweaks, index * tweakLength, address);
}

/** Length of a tweak, an IV, and an AES block, in bytes. */
export const tweakLength = 16;

/** Length of the associated data of one block, in bytes. */
export const contextLength = 40;
const contextMagic = Buffer.from('CBE gcm\x01', 'latin1');

/** Room for the associated data of `count` blocks. What is the same for all blocks is there already. */
export function makeContexts(count: number): DataView {
	const contexts = new Uint8Array(new ArrayBuffer(count * contextLength));
	for (let i = 0; i < count; i++) {
		contexts.set(contextMagic, i * contextLength);
	}

	return new DataView(contexts.buffer);
}

/**
 * What a block of a run is bound to: `CBE gcm` and a 1, PBA, VBA and generation (8 bytes each), key id (4), 4 zeroes;
 * little-endian. So no block can pass for another one, nor for an older state of itself.
 */
export function writeContext(
	contexts: DataView,
	index: number,
	{addresses, vbas, generations, first}: BlockRun,
	keyId: number,
): void {
	const offset = index * contextLength;
	writeNumber(contexts, offset + 8, addresses[first + index]);
	writeNumber(contexts, offset + 16, vbas[first + index]);
	writeNumber(contexts, offset + 24, generations[first + index]);
	contexts.setUint32(offset + 32, keyId, true);
}

function writeNumber(view: DataView, offset: number, value: number): void {
	view.setUint32(offset, value >>> 0, true);
	view.setUint32(offset + 4, Math.floor(value / 2 ** 32), true);
}

/** The parts of block `index`'s label among `labels`, as views. */
export function labelParts(
	labels: Uint8Array,
	index: number,
): {readonly tag: Uint8Array; readonly nonce: Uint8Array; readonly isWellFormed: boolean} {
	const label = labels.subarray(index * labelLength, (index + 1) * labelLength);
	return {
		tag: label.subarray(0, tagLength),
		nonce: label.subarray(tagLength, tagLength + nonceLength),
		isWellFormed: label.subarray(tagLength + nonceLength).every(byte => byte === 0),
	};
}
