/**
 * The master keys of an anchor, newest first. A rekeying renews the master key, so that whoever stole the old one
 * cannot unwrap the new block key; older ones stay for the block keys that were wrapped under them.
 *
 * A wrapped key does not say under which master key it was wrapped. So each renewed one remembers the hash of the block
 * key that was wrapped under it; the first one stands for all others.
 */
import {createHash} from 'node:crypto';

export const masterKeyLength = 32;
export const masterKeyCountMax = 3;

export interface MasterKey {
	readonly key: Buffer;
	/**
	 * SHA-256 of the one wrapped block key under it; undefined for the first master key, under which all others are.
	 */
	readonly wrappedHash: Buffer | undefined;
}

export function hashOfWrapped(wrapped: Uint8Array): Buffer {
	return createHash('sha256').update(wrapped).digest();
}

/** Undefined where the key was wrapped under a master key that is gone, or under another anchor's. */
export function masterKeyOf(keys: readonly MasterKey[], wrapped: Uint8Array): MasterKey | undefined {
	const hash = hashOfWrapped(wrapped);
	return (
		keys.find(({wrappedHash}) => wrappedHash?.equals(hash)) ??
		keys.find(({wrappedHash}) => wrappedHash === undefined)
	);
}

/**
 * The keys after a renewal: what is newer than the one in use was never used, the oldest goes where there is no room.
 */
export function renewed(keys: readonly MasterKey[], inUse: MasterKey, fresh: MasterKey): MasterKey[] {
	return [fresh, ...keys.slice(keys.indexOf(inUse))].slice(0, masterKeyCountMax);
}

export function wipeMasterKeys(keys: readonly MasterKey[]): void {
	for (const {key} of keys) {
		key.fill(0);
	}
}
