/** Control and observation of a finished device, beside its `block` session. */
import {z} from 'zod';
import {bulk, defineSession, numbers, op} from '../../runtime/sdk/session.js';
import {Generation} from './tree-root.js';

export const SnapshotDescription = z.strictObject({
	/** The snapshot's name. */
	generation: Generation,
	/** Size of the device when it was taken, in blocks. */
	blockCount: z.number().int().positive(),
	keep: z.boolean(),
});

export type SnapshotDescription = z.output<typeof SnapshotDescription>;

export const deviceControl = defineSession('device_control', {
	errors: [
		/** There is no snapshot of that name. */
		'unknown_snapshot',
		/** The operation cannot be done now; the message says why and what to do. */
		'refused',
		'no_space',
		'out_of_range',
		'device_failed',
		'integrity',
	],
	ops: {
		status: op({
			reply: z.strictObject({
				state: z.enum(['normal', 'rekeying', 'extending_vbd', 'extending_ft']),
				blockCount: z.number().int().nonnegative(),
				currentGeneration: Generation,
				lastSecuredGeneration: Generation,
				cipher: z.string(),
				poolLeafCount: z.number().int().nonnegative(),
				poolAllocatableCount: z.number().int().nonnegative(),
				poolHeldCount: z.number().int().nonnegative(),
			}),
		}),
		/** Kept snapshots, oldest first. */
		list_snapshots: op({reply: z.strictObject({snapshots: z.array(SnapshotDescription)})}),
		/** Keeps the current content as a snapshot and replies with its name. Light: no data is copied. */
		create_snapshot: op({reply: z.strictObject({generation: Generation})}),
		/** Gives a snapshot up; blocks that only it held become spare. */
		discard_snapshot: op({request: z.strictObject({generation: Generation})}),
		/** Makes the content of a snapshot the current content, in one step. The snapshot stays. */
		revert_snapshot: op({request: z.strictObject({generation: Generation})}),
		/** Reads `extents` of the kept snapshot named `generation` into `data`. */
		read_snapshot: op({request: z.strictObject({generation: Generation, extents: numbers(), data: bulk('out')})}),
	},
});
