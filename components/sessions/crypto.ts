/**
 * Seals and opens batches of data blocks. Sealing encrypts and labels, opening verifies and decrypts. Keys arrive in
 * envelopes that only this server instance can open, so no component in between ever sees one.
 */
import {z} from 'zod';
import {bulk, bytes, defineSession, op, segments} from '../../runtime/sdk/session.js';
import {cipherNames} from './cipher.js';
import {blockSize, generations, indexes, indexesFault, labelsFault, lengthFault, pbas, vbas} from './vocabulary.js';

const KeyId = z.number().int().min(1).max(0xffff_ffff);

interface Batch {
	readonly addresses: readonly number[];
	readonly vbas: readonly number[];
	readonly generations: readonly number[];
	readonly plain: readonly Uint8Array[];
	readonly sealed: Uint8Array;
}

/** Each block has a place, a VBA and a generation, and lies in a segment of whole blocks. */
function batchFault({addresses, vbas, generations, plain, sealed}: Batch): string | undefined {
	let plainLength = 0;
	for (const segment of plain) {
		if (segment.length % blockSize !== 0) {
			return `a segment of ${segment.length} bytes is no whole number of blocks`;
		}

		plainLength += segment.length;
	}

	const blockCount = addresses.length;
	return plainLength !== sealed.length || sealed.length !== blockCount * blockSize
		? `${blockCount} addresses with ${plainLength} plain and ${sealed.length} sealed bytes`
		: (lengthFault(blockCount, 'vbas', vbas) ?? lengthFault(blockCount, 'generations', generations));
}

export const crypto = defineSession('crypto', {
	// Whoever has the cipher gives the same bytes, and keys are added anew to each instance.
	interchangeable: true,
	errors: [
		/** No key of this id has been added since the server started. */
		'unknown_key',
		/** The envelope was not made for this server instance, or was damaged. */
		'bad_envelope',
		/**
		 * The server does not have the cipher: it encrypts and the container is not encrypted, or the other way round.
		 */
		'unsupported_cipher',
	],
	ops: {
		/** The public key (X25519, 32 bytes) to which the trust anchor seals keys for this server instance. */
		recipient: op({reply: z.strictObject({publicKey: bytes(32)})}),
		/**
		 * Adds the key in the envelope under `keyId`; adding an id again replaces it. Where it fails nothing changes.
		 */
		add_key: op({request: z.strictObject({keyId: KeyId, cipher: z.enum(cipherNames), envelope: bytes()})}),
		/** Forgets and wipes a key; unknown ids are fine. */
		remove_key: op({request: z.strictObject({keyId: KeyId})}),
		/**
		 * Encrypts the blocks of `plain` for the places `addresses` (one PBA a block) into `sealed` and replies with
		 * one 32-byte label a block. An authenticated cipher binds each block to its place, its VBA and the generation
		 * of its node as well. While no key of that id is there yet (the server was restarted), waits for it up to 5 s.
		 */
		seal: op({
			request: z.strictObject({
				keyId: KeyId,
				addresses: pbas(),
				vbas: vbas(),
				generations: generations(),
				plain: segments('in'),
				sealed: bulk('out'),
			}),
			reply: z.strictObject({labels: bytes()}),
			requestFault: batchFault,
			replyFault: ({labels}, {addresses}) => labelsFault(labels, addresses.length),
		}),
		/**
		 * Verifies each block of `sealed` against its label and decrypts it into `plain`. Blocks that do not match
		 * their label are listed by their index in `mismatched`; their part of `plain` is zeroed.
		 */
		open: op({
			request: z.strictObject({
				keyId: KeyId,
				addresses: pbas(),
				vbas: vbas(),
				generations: generations(),
				labels: bytes(),
				sealed: bulk('in'),
				plain: segments('out'),
			}),
			reply: z.strictObject({mismatched: indexes()}),
			requestFault: request => batchFault(request) ?? labelsFault(request.labels, request.addresses.length),
			replyFault: ({mismatched}, {addresses}) => indexesFault('mismatched', mismatched, addresses.length),
		}),
	},
});
