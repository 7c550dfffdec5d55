/** The way of a block key from the trust anchor to the crypto server: in an envelope, past whoever arranges it. */
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import type {crypto} from '../sessions/crypto.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import type {Key, Superblock} from './superblock.js';

export interface KeyServers {
	readonly crypto: Client<typeof crypto>;
	readonly trust_anchor: Client<typeof trustAnchor>;
}

/** A crypto server that restarts between two requests has another public key; it is asked again this often. */
const envelopeAttemptMax = 3;

/** Has the trust anchor hand a block key to the crypto server, past this component. */
export async function addKey({crypto, trust_anchor: anchor}: KeyServers, {cipher}: Superblock, key: Key): Promise<void> {
	for (let attempt = 1; ; attempt++) {
		const {publicKey} = await crypto.recipient({});
		const {envelope} = await anchor.share_key({wrapped: key.wrapped, recipient: publicKey});
		try {
			await crypto.add_key({keyId: key.id, cipher, envelope});
			return;
		} catch (error) {
			if (!(isSessionError(error) && error.code === 'bad_envelope' && attempt < envelopeAttemptMax)) {
				throw error;
			}
		}
	}
}

/** Gives the crypto server every key of the container. */
export async function addKeys(servers: KeyServers, superblock: Superblock): Promise<void> {
	for (const key of [superblock.currentKey, superblock.previousKey]) {
		if (key) {
			await addKey(servers, superblock, key);
		}
	}
}
