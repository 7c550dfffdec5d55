/** The way of a block key from the trust anchor to the crypto server: in an envelope, past whoever arranges it. */
import {isSessionError, type Client} from '../../../runtime/sdk/session.js';
import type {CipherName} from '../../sessions/cipher.js';
import type {crypto} from '../../sessions/crypto.js';
import type {trustAnchor} from '../../sessions/trust-anchor.js';
import type {KeyId} from '../../sessions/vocabulary.js';
import {innerCipher, innerKeyId} from './inner-blocks.js';
import {hasLostPreviousKey, type Key, type Superblock} from '../format/superblock.js';

export interface KeyServers {
	readonly crypto: Client<typeof crypto>;
	readonly trust_anchor: Client<typeof trustAnchor>;
}

/** A crypto server that restarts between two requests has another public key; it is asked again this often. */
const envelopeAttemptMax = 3;

/** Gives the crypto server a key in an envelope that `share` has the trust anchor make for it. */
async function handOver(
	crypto: KeyServers['crypto'],
	{keyId, cipher}: {keyId: KeyId; cipher: CipherName},
	share: (recipient: Uint8Array) => Promise<{envelope: Uint8Array}>,
): Promise<void> {
	for (let attempt = 1; ; attempt++) {
		const {publicKey} = await crypto.recipient({});
		const {envelope} = await share(publicKey);
		try {
			await crypto.add_key({keyId, cipher, envelope});
			return;
		} catch (error) {
			if (!(isSessionError(error) && error.code === 'bad_envelope' && attempt < envelopeAttemptMax)) {
				throw error;
			}
		}
	}
}

/** Takes one key to the crypto server, as often as it is called. @throws SessionError */
export type KeyDelivery = () => Promise<void>;

/** Has the trust anchor hand a block key to the crypto server, past this component. */
export function keyDelivery(
	{crypto, trust_anchor: anchor}: KeyServers,
	{cipher}: Superblock,
	{id, wrapped}: Key,
): KeyDelivery {
	return async () => handOver(crypto, {keyId: id, cipher}, async recipient => anchor.share_key({wrapped, recipient}));
}

/** The same with the key of a container's inner blocks. */
export async function addInnerKey({crypto, trust_anchor: anchor}: KeyServers, containerId: Uint8Array): Promise<void> {
	await handOver(crypto, {keyId: innerKeyId, cipher: innerCipher}, async recipient =>
		anchor.share_inner_key({containerId, recipient}),
	);
}

/** The ways of every key of the container, by the ids under which the crypto server knows them. */
export function keyDeliveries(servers: KeyServers, superblock: Superblock): Map<KeyId, KeyDelivery> {
	const ways = new Map<KeyId, KeyDelivery>();
	for (const key of [superblock.currentKey, hasLostPreviousKey(superblock) ? undefined : superblock.previousKey]) {
		if (key) {
			ways.set(key.id, keyDelivery(servers, superblock, key));
		}
	}

	const {innerBlocks, containerId} = superblock;
	if (innerBlocks && containerId) {
		ways.set(innerKeyId, async () => addInnerKey(servers, containerId));
	}

	return ways;
}

/** Gives the crypto server every key of the container. */
export async function addKeys(servers: KeyServers, superblock: Superblock): Promise<void> {
	for (const way of keyDeliveries(servers, superblock).values()) {
		await way();
	}
}

/** Has the crypto server forget every key of the container. */
export async function removeKeys(
	{crypto}: Pick<KeyServers, 'crypto'>,
	{currentKey, previousKey, innerBlocks}: Superblock,
): Promise<void> {
	for (const keyId of [currentKey.id, previousKey?.id, innerBlocks && innerKeyId]) {
		if (keyId !== undefined) {
			await crypto.remove_key({keyId});
		}
	}
}
