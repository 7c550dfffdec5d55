/** What the anchor derives from the master key: each for one purpose. */
import {hkdfSync} from 'node:crypto';

const derivedLength = 32;

const infos = {
	/** Authenticates the records in the file. */
	record: 'cbe trust anchor tpm2 record',
	/** Authorizes reading and writing the NV index. */
	nv: 'cbe trust anchor tpm2 nv index',
} as const;

/** The caller wipes the result. */
export function deriveFrom(masterKey: Uint8Array, purpose: keyof typeof infos): Buffer {
	return Buffer.from(hkdfSync('sha256', masterKey, '', infos[purpose], derivedLength));
}
