/**
 * The authenticator of a superblock: HMAC-SHA-256 of the SHA-256 of everything before it, under a key that the trust anchor
 * derives for the container and that never leaves it. So a superblock that nobody with this anchor wrote is recognised even
 * where the anchor keeps the hash of another one. Superblocks of extension version 1 and of the original carry none.
 */
import {createHash, timingSafeEqual} from 'node:crypto';
import type {Client} from '../../runtime/sdk/session.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import {authenticatorOffset, encodeSuperblock, type Superblock} from './superblock.js';

type Anchor = Pick<Client<typeof trustAnchor>, 'authenticate'>;

/** Undefined where a superblock of this container carries none. */
async function authenticatorOf(anchor: Anchor, block: Uint8Array, {containerId, features}: Superblock): Promise<Uint8Array | undefined> {
	if (!containerId || !features) {
		return undefined;
	}

	const digest = createHash('sha256').update(block.subarray(0, authenticatorOffset)).digest();
	const {authenticator} = await anchor.authenticate({containerId, digest});
	return authenticator;
}

/** Encodes a superblock as it has to lie on the medium. @throws SessionError where the trust anchor cannot be used */
export async function sealSuperblock(anchor: Anchor, superblock: Superblock): Promise<Buffer> {
	const block = encodeSuperblock(superblock);
	block.set(await authenticatorOf(anchor, block, superblock) ?? [], authenticatorOffset);
	return block;
}

/** What a slot's block is worth without the trust anchor's hash. @throws SessionError where the trust anchor cannot be used */
export async function judgeAuthenticity(anchor: Anchor, block: Uint8Array, superblock: Superblock): Promise<'authentic' | 'forged' | 'unauthenticated'> {
	const expected = await authenticatorOf(anchor, block, superblock);
	if (!expected) {
		return 'unauthenticated';
	}

	return timingSafeEqual(expected, block.subarray(authenticatorOffset)) ? 'authentic' : 'forged';
}
