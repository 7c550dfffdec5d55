/**
 * What opens a trust anchor: key slots. Passphrases arrive sealed to the anchor. Each change needs something that opens
 * the anchor already: a passphrase or recovery key in `existing`, or a key file, which need not be named.
 */
import {z} from 'zod';
import {bytes, defineSession, op} from '../../runtime/sdk/session.js';
import {SealedSecret} from './sealed-secret.js';

const slotCountMax = 8;
const Slot = z
	.number()
	.int()
	.min(0)
	.max(slotCountMax - 1);

const KeyDescription = z.strictObject({
	slot: Slot,
	/** `damaged` slots open nothing. */
	kind: z.enum(['passphrase', 'recovery', 'key_file', 'damaged']),
	name: z.string(),
	/** What a guess costs, for people: the function and its parameters. */
	derivation: z.string(),
	/** A guess costs less memory than it should. */
	isWeak: z.boolean(),
});

export type KeyDescription = z.output<typeof KeyDescription>;

/** 32 bytes in UTF-8 at most. */
const Name = z.string().max(32);
/**
 * Bytes of memory that a guess shall take, a power of two; unless given, 128 MiB or more, and no less than what is
 * replaced.
 */
const GuessMemory = z
	.number()
	.int()
	.min(2 ** 20)
	.max(2 ** 29)
	.optional();
const PublicKey = z.string().regex(/^[\da-f]{64}$/, 'a public key in hexadecimal is required');

export const anchorKeys = defineSession('anchor_keys', {
	errors: [
		'wrong_passphrase',
		/** A file is damaged, or was altered. */
		'damaged',
		/** No passphrase was given, and nothing else opens the anchor. */
		'locked',
		'storage_failed',
		/** It cannot be done; the message says why. */
		'refused',
		/** An envelope or a public key that cannot be right. */
		'bad_key',
	],
	ops: {
		/** Where the anchor stands, and everything that opens it. */
		list: op({
			reply: z.strictObject({
				state: z.enum(['empty', 'present']),
				/** A key file is there and opens the anchor without any passphrase. */
				hasKeyFile: z.boolean(),
				keys: z.array(KeyDescription),
				slotCount: z.number().int(),
			}),
		}),
		/** The public key (X25519, 32 bytes) to which secrets are sealed. */
		recipient: op({reply: z.strictObject({publicKey: bytes(32)})}),
		/** Adds a passphrase. Where there is no anchor yet, makes one with this passphrase. */
		add: op({
			request: z.strictObject({
				existing: SealedSecret.optional(),
				secret: SealedSecret,
				name: Name.default(''),
				memory: GuessMemory,
			}),
			reply: z.strictObject({slot: Slot}),
		}),
		/** Adds a new recovery key, and replies with its text sealed to `recipient`. */
		add_recovery: op({
			request: z.strictObject({existing: SealedSecret.optional(), recipient: PublicKey, name: Name.default('')}),
			reply: z.strictObject({slot: Slot, sealed: SealedSecret}),
		}),
		/**
		 * Puts a new passphrase, or a new key file, in the place of an old one: that of `slot`, else what `existing`
		 * is.
		 */
		change: op({
			request: z.strictObject({
				existing: SealedSecret.optional(),
				slot: Slot.optional(),
				secret: SealedSecret.optional(),
				memory: GuessMemory,
			}),
			reply: z.strictObject({slot: Slot}),
		}),
		/** Gives a slot up. What opens the anchor here must not be the slot itself. */
		remove: op({request: z.strictObject({existing: SealedSecret.optional(), slot: Slot})}),
	},
});
