/**
 * The only holder of the master key, and the memory of which superblock is the newest. Block keys leave it wrapped for
 * the superblock or in an envelope for one crypto server, never in clear.
 */
import {z} from 'zod';
import {bytes, defineSession, op} from '../../runtime/sdk/session.js';
import {SealedSecret} from './sealed-secret.js';

/** What the anchor remembers about the newest superblock. */
const Secured = z.strictObject({
	/** SHA-256 of the superblock as it lies on the medium. */
	hash: bytes(32),
	/** The generation it secured; null where the anchor's format does not record it. */
	generation: z.number().int().nonnegative().nullable(),
	/** True between the anchoring of a container's very first superblock and its confirmed arrival on the medium. */
	creating: z.boolean(),
});

/** What the anchor remembers beside that. */
const Marks = z.strictObject({
	/** The hash of a superblock that may have been written since; null where none was announced. */
	intended: bytes(32).nullable(),
	/** False where a program that announces nothing may have written superblocks since the record. */
	announces: z.boolean(),
	/** True where all superblocks of the container carry authenticators of this anchor. */
	authenticated: z.boolean(),
});

export const trustAnchor = defineSession('trust_anchor', {
	errors: [
		/** There is no master key yet: `initialize` has never been called. */
		'not_initialized',
		/** `initialize` on an anchor that holds a master key already. */
		'already_initialized',
		/** The passphrase does not open the anchor, or none was given. */
		'wrong_passphrase',
		/** The keys have been forgotten, or no passphrase has been given yet; `unlock` brings them back. */
		'locked',
		/** The anchor's files are missing in part, truncated, altered, unreadable, or of another anchor. */
		'damaged',
		/** The anchor's storage failed. */
		'storage_failed',
		/** A wrapped key or a recipient that cannot be right. */
		'bad_key',
	],
	ops: {
		/** Where the keys are; answered even where everything else is refused. */
		access: op({reply: z.strictObject({state: z.enum(['empty', 'open', 'locked', 'failed'])})}),
		/** The public key (X25519, 32 bytes) to which a passphrase for this instance of the anchor is sealed. */
		recipient: op({reply: z.strictObject({publicKey: bytes(32)})}),
		/** Forgets the master key and everything made of it. */
		lock: op({}),
		/**
		 * Opens the anchor again, with a sealed passphrase or with what its configuration names. An open anchor stays
		 * as it is.
		 */
		unlock: op({request: z.strictObject({sealed: SealedSecret.optional()})}),
		/** `initialized`: a master key is there and usable. `secured`: null before the first `secure`. */
		status: op({reply: z.strictObject({initialized: z.boolean(), secured: Secured.nullable()})}),
		/** Makes the master key, durably. */
		initialize: op({}),
		/** Makes a new random block key and replies with it wrapped for the superblock (32 bytes). */
		create_key: op({
			request: z.strictObject({current: bytes(32).optional()}),
			reply: z.strictObject({wrapped: bytes(32)}),
		}),
		/** Opens a wrapped key and seals it to the crypto server whose public key `recipient` is. */
		share_key: op({
			request: z.strictObject({wrapped: bytes(32), recipient: bytes(32)}),
			reply: z.strictObject({envelope: bytes()}),
		}),
		/**
		 * Seals the key of a container's inner blocks to the crypto server whose public key `recipient` is. The key
		 * depends on the anchor and the container alone, so that nothing of it stands anywhere and no rekeying changes
		 * it.
		 */
		share_inner_key: op({
			request: z.strictObject({containerId: bytes(16), recipient: bytes(32)}),
			reply: z.strictObject({envelope: bytes()}),
		}),
		/**
		 * Authenticates a superblock of a container, by the digest (SHA-256) of what is authenticated. The key depends
		 * on the anchor and the container alone, and never leaves the anchor. What is secured from now on is marked as
		 * authenticated.
		 */
		authenticate: op({
			request: z.strictObject({containerId: bytes(16), digest: bytes(32)}),
			reply: z.strictObject({authenticator: bytes(32)}),
		}),
		/** Whether `authenticate` would have made this authenticator. */
		verify: op({
			request: z.strictObject({containerId: bytes(16), digest: bytes(32), authenticator: bytes(32)}),
			reply: z.strictObject({isAuthentic: z.boolean()}),
		}),
		/** What the record says beside the newest superblock. */
		marks: op({reply: Marks}),
		/**
		 * Remembers, durably once it replies, which superblock is about to be written; the newest one stays the newest.
		 */
		intend: op({request: z.strictObject({hash: bytes(32)})}),
		/** The key that authenticates the one flush that follows what has this hash. */
		flush_key: op({request: z.strictObject({hash: bytes(32)}), reply: z.strictObject({key: bytes(32)})}),
		/**
		 * Remembers the newest superblock, durably once it replies; a crash leaves the old record or the new one.
		 * Replies with the `flush_key` of what was secured, so that a flush takes no further request.
		 */
		secure: op({request: Secured, reply: z.strictObject({flushKey: bytes(32)})}),
	},
});
