/** The label of a block that is not data: SHA-256 over its 4096 bytes as they lie on the medium (format section 1). */
import {hash} from 'node:crypto';
import {labelLength} from '../../sessions/vocabulary.js';

export {labelLength};

export function labelOf(block: Uint8Array): Buffer {
	return hash('sha256', block, 'buffer');
}

/**
 * Stands in the node of a block that was unreadable when a rekeying came by. No content has this label under any
 * cipher, so the block stays unreadable until it is written anew, even if the medium gives back its old content, which
 * was under another key.
 */
export const lostLabel: Uint8Array = new Uint8Array(labelLength).fill(0xff);

export function isLostLabel(label: Uint8Array): boolean {
	return Buffer.compare(label, lostLabel) === 0;
}
