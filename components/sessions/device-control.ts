/** Control and observation of a finished device, beside its `block` session. */
import {z} from 'zod';
import {bulk, bytes, defineSession, op} from '../../runtime/sdk/session.js';
import {allocationFault, allocationRange, allocationRangeFault, AllocationReply} from './allocation.js';
import {SealedSecret} from './sealed-secret.js';
import {Generation, extents, payloadFault} from './vocabulary.js';

/** Longer texts are no request; what a name may be is told in words. */
const snapshotNameLengthLimit = 4096;

export const SnapshotDescription = z.strictObject({
	/** The number that it is known by. */
	generation: Generation,
	/** What it is called beside that; missing where it has no name. */
	name: z.string().optional(),
	/** When it was taken, in seconds since 1970; missing where that is not known, as in the original's containers. */
	time: z.number().int().positive().optional(),
	/** Size of the device when it was taken, in blocks. */
	blockCount: z.number().int().positive(),
	keep: z.boolean(),
});

export type SnapshotDescription = z.output<typeof SnapshotDescription>;

const OperationStatus = z.strictObject({
	phase: z.enum(['idle', 'in-progress', 'paused']),
	lastResult: z.enum(['none', 'success', 'failed']),
	/** What it waits for and who can bring it, in words: spare blocks, or room on the host. */
	waitsFor: z.string().optional(),
	/** Blocks gone through, of `total`. */
	done: z.number().int().nonnegative(),
	total: z.number().int().nonnegative(),
	bytesPerSecond: z.number().nonnegative(),
	secondsLeft: z.number().nonnegative().optional(),
});

export type OperationStatus = z.output<typeof OperationStatus>;

const OperationName = z.enum(['extend', 'rekey', 'check']);

export const deviceControl = defineSession('device_control', {
	misfit: 'out_of_range',
	errors: [
		/** There is no snapshot of that name. */
		'unknown_snapshot',
		/** The text is no name for a snapshot, or another one has it. */
		'invalid_name',
		/** The operation cannot be done now; the message says why and what to do. */
		'refused',
		/** The device is locked; `unlock` serves it again. */
		'locked',
		/** The passphrase does not open the trust anchor, or none was given. */
		'wrong_passphrase',
		'no_space',
		'out_of_range',
		'device_failed',
		'integrity',
	],
	ops: {
		status: op({
			reply: z.strictObject({
				/** Of a device that has been locked since its start only this is known. */
				locked: z.boolean(),
				state: z.enum(['unknown', 'normal', 'rekeying', 'extending_vbd', 'extending_ft']),
				blockCount: z.number().int().nonnegative(),
				currentGeneration: Generation,
				lastSecuredGeneration: Generation,
				cipher: z.string(),
				/** Why the device can only be read; missing where it can be written. */
				readOnly: z.string().optional(),
				/**
				 * Blocks of the device that have content, and how many of them snapshots have, too; missing while they
				 * are counted.
				 */
				usedBlockCount: z.number().int().nonnegative().optional(),
				sharedBlockCount: z.number().int().nonnegative().optional(),
				/**
				 * Blocks of the pool; how many could be handed out, now or once the state is secured; how many only
				 * snapshots hold.
				 */
				poolLeafCount: z.number().int().nonnegative(),
				poolAllocatableCount: z.number().int().nonnegative(),
				poolHeldCount: z.number().int().nonnegative(),
				/**
				 * How long the pool lasts if snapshots go on taking hold of it as of late; missing where they do not.
				 */
				poolSecondsLeft: z.number().nonnegative().optional(),
				/** Why nothing can be written now, and what to do; missing where it can. */
				restriction: z.string().optional(),
			}),
		}),
		/** Kept snapshots, oldest first. */
		list_snapshots: op({reply: z.strictObject({snapshots: z.array(SnapshotDescription)})}),
		/**
		 * How many blocks each kept snapshot holds alone as of the last checkpoint: what giving it up brings. Goes
		 * through the pool once after each checkpoint that it is asked for.
		 */
		measure_snapshots: op({
			reply: z.strictObject({
				snapshots: z.array(
					z.strictObject({generation: Generation, soleBlockCount: z.number().int().nonnegative()}),
				),
			}),
		}),
		/**
		 * Keeps the current content as a snapshot and replies with its number. Light: no data is copied. Where nothing
		 * was written since the newest snapshot, that one has the content already: without a name `isNew` is false
		 * then, and there is no second one. With a name it gets the name, and `isNew` is false; where it has another
		 * name there is a second one. A name has 1 to 48 bytes of UTF-8, not digits alone, no "/", no control
		 * characters, and no other snapshot has it: else it is an `invalid_name`. In containers whose snapshots have no
		 * names the request is `refused`.
		 */
		create_snapshot: op({
			request: z.strictObject({name: z.string().max(snapshotNameLengthLimit).optional()}),
			reply: z.strictObject({generation: Generation, isNew: z.boolean()}),
		}),
		/** Gives a snapshot up; blocks that only it held become spare. */
		discard_snapshot: op({request: z.strictObject({generation: Generation})}),
		/** Makes the content of a snapshot the current content, in one step. The snapshot stays. */
		revert_snapshot: op({request: z.strictObject({generation: Generation})}),
		/**
		 * Begins to add `blockCount` blocks of the medium to the device or to its pool of spare blocks; it goes on by
		 * itself.
		 */
		extend: op({request: z.strictObject({tree: z.enum(['vbd', 'ft']), blockCount: z.number().int().positive()})}),
		/** Begins to seal everything anew with a new key; it goes on by itself. */
		rekey: op({}),
		/**
		 * Begins to compare everything that is in use, as it lies on the medium, with its labels; it goes on by itself.
		 * Damage is logged, and its last result is `failed` then.
		 */
		check: op({}),
		/** How the long operations stand. */
		operations: op({
			reply: z.strictObject({extend: OperationStatus, rekey: OperationStatus, check: OperationStatus}),
		}),
		/** Secures everything, then forgets all keys; requests fail from now on. */
		lock: op({}),
		/** The trust anchor's public key, to which a passphrase is sealed. */
		recipient: op({reply: z.strictObject({publicKey: bytes(32)})}),
		/** Has the trust anchor open with a sealed passphrase, or with what its configuration names, and goes on. */
		unlock: op({request: z.strictObject({sealed: SealedSecret.optional()})}),
		/** Halts a long operation after its running step; requests go on. */
		pause: op({request: z.strictObject({operation: OperationName})}),
		resume: op({request: z.strictObject({operation: OperationName})}),
		/**
		 * What is known of blocks of the kept snapshot named `generation` without reading them, as `block` tells it of
		 * the device.
		 */
		snapshot_allocation: op({
			request: z.strictObject({generation: Generation, ...allocationRange}),
			reply: AllocationReply,
			requestFault: allocationRangeFault,
			replyFault: allocationFault,
		}),
		/** Reads `extents` of the kept snapshot named `generation` into `data`. */
		read_snapshot: op({
			request: z.strictObject({generation: Generation, extents: extents(), data: bulk('out')}),
			requestFault: request => payloadFault(request.extents, request.data),
		}),
	},
});
