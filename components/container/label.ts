/** The label of a block that is not data: SHA-256 over its 4096 bytes as they lie on the medium (format section 1). */
import {hash} from 'node:crypto';

export const labelLength = 32;

export function labelOf(block: Uint8Array): Buffer {
	return hash('sha256', block, 'buffer');
}
