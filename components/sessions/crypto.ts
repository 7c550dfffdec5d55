/**
 * Seals and opens batches of data blocks. Sealing encrypts and labels, opening verifies and decrypts. Keys arrive in
 * envelopes that only this server instance can open, so no component in between ever sees one.
 */
import {z} from 'zod';
import {bulk, bytes, defineSession, numbers, op, segments} from '../../runtime/sdk/session.js';
import {cipherNames} from './cipher.js';

const KeyId = z.number().int().min(1).max(0xffff_ffff);

export const crypto = defineSession('crypto', {
	// Whoever has the cipher gives the same bytes, and keys are added anew to each instance.
	interchangeable: true,
	errors: [
		/** No key of this id has been added since the server started. */
		'unknown_key',
		/** The envelope was not made for this server instance, or was damaged. */
		'bad_envelope',
		/** The server does not have the cipher: it encrypts and the container is not encrypted, or the other way round. */
		'unsupported_cipher',
	],
	ops: {
		/** The public key (X25519, 32 bytes) to which the trust anchor seals keys for this server instance. */
		recipient: op({reply: z.strictObject({publicKey: bytes(32)})}),
		/** Adds the key in the envelope under `keyId`; adding an id again replaces it. Where it fails nothing changes. */
		add_key: op({request: z.strictObject({keyId: KeyId, cipher: z.enum(cipherNames), envelope: bytes()})}),
		/** Forgets and wipes a key; unknown ids are fine. */
		remove_key: op({request: z.strictObject({keyId: KeyId})}),
		/**
		 * Encrypts the blocks of `plain` for the places `addresses` (one PBA a block) into `sealed` and replies with one
		 * 32-byte label a block. An authenticated cipher binds each block to its place, its VBA and the generation of its
		 * node as well. While no key of that id is there yet (the server was restarted), waits for it up to 5 s.
		 */
		seal: op({
			request: z.strictObject({keyId: KeyId, addresses: numbers(), vbas: numbers(), generations: numbers(), plain: segments('in'), sealed: bulk('out')}),
			reply: z.strictObject({labels: bytes()}),
		}),
		/**
		 * Verifies each block of `sealed` against its label and decrypts it into `plain`. Blocks that do not match their
		 * label are listed by their index in `mismatched`; their part of `plain` is zeroed.
		 */
		open: op({
			request: z.strictObject({keyId: KeyId, addresses: numbers(), vbas: numbers(), generations: numbers(), labels: bytes(), sealed: bulk('in'), plain: segments('out')}),
			reply: z.strictObject({mismatched: numbers()}),
		}),
	},
});
