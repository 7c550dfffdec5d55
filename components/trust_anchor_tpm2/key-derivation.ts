/** The key derivations of TPM 2.0 part 1, sections 11.4.10.2 (KDFa) and 11.4.10.3 (KDFe), with SHA-256. */
import {createHash, createHmac} from 'node:crypto';

const hashLength = 32;

function u32(value: number): Buffer {
	const bytes = Buffer.alloc(4);
	bytes.writeUInt32BE(value);
	return bytes;
}

function label(text: string): Buffer {
	return Buffer.from(`${text}\0`);
}

/** KDFa: SP 800-108 in counter mode. The caller wipes the result. */
export function deriveByKdfa(
	key: Uint8Array,
	use: string,
	contextU: Uint8Array,
	contextV: Uint8Array,
	byteLength: number,
): Buffer {
	const blocks = [];
	for (let counter = 1; blocks.length * hashLength < byteLength; counter++) {
		blocks.push(
			createHmac('sha256', key)
				.update(u32(counter))
				.update(label(use))
				.update(contextU)
				.update(contextV)
				.update(u32(byteLength * 8))
				.digest(),
		);
	}

	const derived = Buffer.concat(blocks, byteLength);
	for (const block of blocks) {
		block.fill(0);
	}

	return derived;
}

/** KDFe: SP 800-56A, one block, which is all that SHA-256 names need here. The caller wipes the result. */
export function deriveByKdfe(shared: Uint8Array, use: string, partyU: Uint8Array, partyV: Uint8Array): Buffer {
	return createHash('sha256').update(u32(1)).update(shared).update(label(use)).update(partyU).update(partyV).digest();
}
