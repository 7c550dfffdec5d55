/** Keys that follow from the secret that an anchor has for good. */
import {createHmac, hkdfSync} from 'node:crypto';
import {blockKeyLength} from '../../sessions/cipher.js';

const superblockKeyLength = 32;

/** The key of a container's inner blocks. The caller wipes it. */
export function deriveInnerKey(lasting: Uint8Array, containerId: Uint8Array): Buffer {
	return Buffer.from(hkdfSync('sha256', lasting, containerId, 'cbe inner blocks', blockKeyLength));
}

/** Of a superblock of the container. */
export function authenticatorOf(lasting: Uint8Array, containerId: Uint8Array, digest: Uint8Array): Buffer {
	const key = Buffer.from(
		hkdfSync('sha256', lasting, containerId, 'cbe superblock authenticator', superblockKeyLength),
	);
	try {
		return createHmac('sha256', key).update(digest).digest();
	} finally {
		key.fill(0);
	}
}

/** Of all flush keys. The caller wipes it. */
export function deriveFlushMaster(lasting: Uint8Array): Buffer {
	return Buffer.from(hkdfSync('sha256', lasting, '', 'cbe flush authenticators', superblockKeyLength));
}
