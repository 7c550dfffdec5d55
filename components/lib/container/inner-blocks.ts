/**
 * Inner blocks that lie encrypted on the medium: AES-256-XTS with the PBA as tweak, under a key of their own for each
 * container. Their labels are of the ciphertext, as those of data are, so that a block is verified before it is
 * decrypted.
 */
import type {Client} from '../../../runtime/sdk/session.js';
import type {CipherName} from '../../sessions/cipher.js';
import type {crypto} from '../../sessions/crypto.js';
import type {KeyId, Pba} from '../../sessions/vocabulary.js';

/** The crypto server knows the key by this id; those of data count from 1. */
export const innerKeyId: KeyId = 0xffff_ffff;

export const innerCipher: CipherName = 'aes-256-xts';

/** The cipher looks at the PBA alone. */
function placesOf(addresses: readonly Pba[]): {addresses: number[]; vbas: number[]; generations: number[]} {
	const zeroes = addresses.map(() => 0);
	return {addresses: [...addresses], vbas: zeroes, generations: zeroes};
}

/** Encrypts blocks where they stand and returns their labels, 32 bytes each. */
export async function sealInner(
	server: Client<typeof crypto>,
	addresses: readonly Pba[],
	blocks: Uint8Array,
): Promise<Uint8Array> {
	const {labels} = await server.seal({keyId: innerKeyId, ...placesOf(addresses), plain: [blocks], sealed: blocks});
	return labels;
}

/**
 * Verifies blocks and decrypts them where they stand. Returns the indexes of those that do not match their labels,
 * which are zeroed.
 */
export async function openInner(
	server: Client<typeof crypto>,
	addresses: readonly Pba[],
	{labels, blocks}: {labels: Uint8Array; blocks: Uint8Array},
): Promise<readonly number[]> {
	const {mismatched} = await server.open({
		keyId: innerKeyId,
		...placesOf(addresses),
		labels,
		sealed: blocks,
		plain: [blocks],
	});
	return mismatched;
}
