/**
 * The authenticator of a superblock: HMAC-SHA-256 of the SHA-256 of everything before it, under a key that the trust
 * anchor derives for the container and that never leaves it. So a superblock that nobody with this anchor wrote is
 * recognised even where the anchor keeps the hash of another one. Superblocks of extension version 1 and of the
 * original carry none.
 */
import {createHash} from 'node:crypto';
import type {Client} from '../../../runtime/sdk/session.js';
import type {trustAnchor} from '../../sessions/trust-anchor.js';
import type {Superblock} from '../format/superblock.js';
import {encodeSuperblock, authenticatorOffset} from '../format/superblock-codec.js';

type Anchor = Pick<Client<typeof trustAnchor>, 'authenticate' | 'verify'>;

/** What is authenticated of a superblock; undefined where it carries no authenticator. */
function subjectOf(
	block: Uint8Array,
	{containerId, features}: Superblock,
): {containerId: Uint8Array; digest: Uint8Array} | undefined {
	return (
		containerId &&
		features && {containerId, digest: createHash('sha256').update(block.subarray(0, authenticatorOffset)).digest()}
	);
}

/** Encodes a superblock as it has to lie on the medium. @throws SessionError where the trust anchor cannot be used */
export async function sealSuperblock(anchor: Anchor, superblock: Superblock): Promise<Buffer> {
	const block = encodeSuperblock(superblock);
	const subject = subjectOf(block, superblock);
	if (subject) {
		const {authenticator} = await anchor.authenticate(subject);
		block.set(authenticator, authenticatorOffset);
	}

	return block;
}

/**
 * What a slot's block is worth without the trust anchor's hash. @throws SessionError where the trust anchor cannot be
 * used
 */
export async function judgeAuthenticity(
	anchor: Anchor,
	block: Uint8Array,
	superblock: Superblock,
): Promise<'authentic' | 'forged' | 'unauthenticated'> {
	const subject = subjectOf(block, superblock);
	if (!subject) {
		return 'unauthenticated';
	}

	const {isAuthentic} = await anchor.verify({...subject, authenticator: block.subarray(authenticatorOffset)});
	return isAuthentic ? 'authentic' : 'forged';
}
