/** What a crypto server brings along: the ciphers and the label, without keys' whereabouts, sessions or batches. */

/** Blocks that lie one behind another, with the same distances, in one buffer on either side. */
export interface BlockRun {
	/** PBA of block `i` of the run: `addresses[first + i]`. */
	readonly addresses: readonly number[];
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
	/** AES-256-XTS, one data unit a block, tweak = PBA; key of 64 bytes. */
	xts(key: Uint8Array): PreparedKey;
	/** AES-256-CBC without padding, IV = AES-256-ECB(SHA-256(key), PBA as 8-byte little-endian + 8 zero bytes); key of 32 bytes. */
	cbcEssiv(key: Uint8Array): PreparedKey;
	/** SHA-256 of each of `count` blocks, 32 bytes each. */
	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void;
}

/** The PBA as a little-endian number at the front of a 16-byte IV or tweak whose rest is zero. */
export function writeTweak(tweaks: DataView, index: number, address: number): void {
	const offset = index * tweakLength;
	tweaks.setUint32(offset, address >>> 0, true);
	tweaks.setUint32(offset + 4, Math.floor(address / 2 ** 32), true);
}

/** Length of a tweak, an IV, and an AES block, in bytes. */
export const tweakLength = 16;
