/** Reads and writes of the hash trees whose leaves are the user's data (format sections 3 and 4). */
import {z} from 'zod';
import {bulk, bytes, defineSession, op, vector} from '../../runtime/sdk/session.js';
import {allocationFault, allocationRange, allocationRangeFault, AllocationReply} from './allocation.js';
import {TreeRoot} from './tree-root.js';
import {Generation, Vba, blockSize, extents, labelsFault, lengthFault, payloadFault, pbas, vbas} from './vocabulary.js';

/**
 * Keys by VBA: below `rekeyingVba` the current key, from there on the previous one; previous is 0 when not rekeying.
 * Where `isPreviousKeyLost` nobody has the previous key: reads of what it has sealed fail with `integrity`.
 */
const Keys = z.strictObject({
	currentKeyId: z.number().int().positive(),
	previousKeyId: z.number().int().nonnegative(),
	rekeyingVba: Vba,
	isPreviousKeyLost: z.boolean().optional(),
});

/** Most blocks of one write: 1 MiB, so that one request never needs more of the pool than a small pool can give. */
export const writeBlockCountMax = 256;

/** A kept snapshot by its name, with its tree as the superblock describes it. */
const KeptSnapshot = z.strictObject({generation: Generation, tree: TreeRoot});

/**
 * Where leaves of the current tree now lie, as vectors: VBA, PBA, the leaf of the free tree that held the PBA in the
 * last stored state (-1 where it was the leaf's own place), label (32 bytes each).
 */
const LeafChanges = z.strictObject({vbas: vbas(), addresses: pbas(), leaves: vector<Vba>(-1), labels: bytes()});

export type LeafChanges = z.output<typeof LeafChanges>;

function changesFault({vbas, addresses, leaves, labels}: LeafChanges): string | undefined {
	return (
		lengthFault(vbas.length, 'addresses', addresses) ??
		lengthFault(vbas.length, 'leaves', leaves) ??
		labelsFault(labels, vbas.length)
	);
}

interface Transfer {
	readonly extents: readonly number[];
	readonly data: Uint8Array;
}

const transferFault = ({extents, data}: Transfer) => payloadFault(extents, data);

function writeFault({extents, data}: Transfer): string | undefined {
	return (
		payloadFault(extents, data) ??
		(data.length > writeBlockCountMax * blockSize
			? `a write of ${data.length} bytes is larger than ${writeBlockCountMax} blocks`
			: undefined)
	);
}

const blockErrors = ['out_of_range', 'device_failed', 'no_space', 'integrity'] as const;

export const virtualBlockDevice = defineSession('virtual_block_device', {
	misfit: 'out_of_range',
	errors: [
		...blockErrors,
		/** The operation cannot be done; the message says why. Nothing was changed. */
		'refused',
	],
	ops: {
		/**
		 * Starts over from this secured tree; everything not stored is forgotten. Once it replies nothing from before
		 * uses the pool, which has to be opened after it. `emptiesLeaves`: a written leaf may
		 * have no content.
		 */
		open: op({
			request: z.strictObject({
				tree: TreeRoot,
				keys: Keys,
				currentGeneration: Generation,
				innerBlocks: z.literal('encrypted').optional(),
				emptiesLeaves: z.literal(true).optional(),
			}),
		}),
		/** Reads `extents` (pairs of first VBA and number of blocks) of the current tree into `data`. */
		read: op({request: z.strictObject({extents: extents(), data: bulk('out')}), requestFault: transferFault}),
		/**
		 * Writes `data` to `extents` of the current tree, at most `writeBlockCountMax` blocks. `no_space` means: not
		 * before the state is secured, perhaps not even then; a part of the blocks may have been written.
		 */
		write: op({request: z.strictObject({extents: extents(), data: bulk('in')}), requestFault: writeFault}),
		/**
		 * Makes `count` blocks of the current tree from `vba` on read as zeroes, as if never written: a bounded part of
		 * those that have content. Replies whether there were any and where to go on; null at the end. What older
		 * snapshots hold stays. Errors as for `write`, where nothing was cleared.
		 */
		clear: op({
			request: z.strictObject({vba: Vba, count: z.number().int().positive()}),
			reply: z.strictObject({isChanged: z.boolean(), nextVba: Vba.nullable()}),
		}),
		/**
		 * Counts blocks of the current tree from `firstVba` on that were ever written, and how many of them belong to
		 * `newestKeptGeneration` or are older: a bounded part, and where to go on; null at the end. Begins at 0.
		 */
		count_written: op({
			request: z.strictObject({firstVba: z.number().int().nonnegative(), newestKeptGeneration: Generation}),
			reply: z.strictObject({
				usedCount: z.number().int().nonnegative(),
				sharedCount: z.number().int().nonnegative(),
				nextVba: z.number().int().nonnegative().nullable(),
			}),
		}),
		/** What is known of blocks of the current tree, or of a snapshot's, without reading them. */
		allocation: op({
			request: z.strictObject({snapshot: KeptSnapshot.optional(), ...allocationRange}),
			reply: AllocationReply,
			requestFault: allocationRangeFault,
			replyFault: allocationFault,
		}),
		/** Reads from a snapshot. */
		read_snapshot: op({
			request: z.strictObject({snapshot: KeptSnapshot, extents: extents(), data: bulk('out')}),
			requestFault: transferFault,
		}),
		/**
		 * Makes the content of the snapshot with this tree the current content; the snapshot keeps its blocks.
		 * Everything changed must have been stored, and the snapshot must have the current tree's dimensions. All or
		 * nothing.
		 */
		revert: op({request: z.strictObject({tree: TreeRoot, newestKeptGeneration: Generation})}),
		/** The keys from now on, where a rekeying begins or ends. */
		set_keys: op({request: Keys}),
		/**
		 * Seals the blocks from the rekeying VBA on, up to `blockCount` and none from `untilVba` on, of the current
		 * tree and of all kept `snapshots` with the current key, and moves the rekeying VBA past them. Replies with it.
		 * `no_space`: not before the state is secured, perhaps not even then; nothing was rekeyed. Blocks that do not
		 * match their label are given up: they are told in the log, counted in `lostBlockCount`, and stay unreadable
		 * until they are written anew.
		 */
		rekey: op({
			request: z.strictObject({
				snapshots: z.array(KeptSnapshot),
				blockCount: z.number().int().positive(),
				untilVba: z.number().int().nonnegative(),
			}),
			reply: z.strictObject({
				rekeyingVba: z.number().int().nonnegative(),
				sealedBlockCount: z.number().int().nonnegative(),
				lostBlockCount: z.number().int().nonnegative(),
			}),
		}),
		/**
		 * Compares data and inner blocks of the current tree and of the kept `snapshots`, as they lie on the medium,
		 * with the labels in their parents: a bounded part, from `firstVba` on. Replies where to go on; null at the
		 * end.
		 */
		verify: op({
			request: z.strictObject({snapshots: z.array(KeptSnapshot), firstVba: z.number().int().nonnegative()}),
			reply: z.strictObject({
				nextVba: z.number().int().nonnegative().nullable(),
				checkedBlockCount: z.number().int().nonnegative(),
				damages: z.array(z.string()),
			}),
		}),
		/**
		 * Clears, on the medium, a bounded part of the blocks that nobody needs after `lastSecuredGeneration` was
		 * secured with these kept `snapshots`: where clearings have left some or, since a `snapshotGone` was named (the
		 * generation after which the device has changed), anywhere; but not in the pool's entries from `endLeaf` on.
		 * Replies whether there is more to do: now, or once more is secured.
		 */
		reclaim: op({
			request: z.strictObject({
				lastSecuredGeneration: Generation,
				snapshots: z.array(KeptSnapshot),
				snapshotGone: Generation.nullable(),
				endLeaf: z.number().int().nonnegative(),
			}),
			reply: z.strictObject({remainder: z.enum(['nothing', 'more', 'unsecured'])}),
		}),
		/**
		 * Adds leaves from up to `pbaCount` PBAs from `firstPba` on, in up to `stepCount` steps of one lowest block
		 * each. Replies with what was used; nothing used means that the format's limit is reached. `no_space`: not
		 * before the state is secured, perhaps not even then.
		 */
		extend: op({
			request: z.strictObject({
				firstPba: z.number().int().positive(),
				pbaCount: z.number().int().nonnegative(),
				stepCount: z.number().int().positive(),
			}),
			reply: z.strictObject({
				usedPbaCount: z.number().int().nonnegative(),
				addedLeafCount: z.number().int().nonnegative(),
			}),
		}),
		/**
		 * Waits for running writes, then replies with the leaves that have changed since the last `store` or `log`;
		 * null where they are more than `countMax` or something else has changed too, so that only `store` helps. From
		 * then on nothing overwrites what they name, until the next `store`.
		 */
		log: op({
			request: z.strictObject({countMax: z.number().int().nonnegative()}),
			reply: z.strictObject({changes: LeafChanges.nullable()}),
			replyFault: ({changes}, {countMax}) =>
				changes
					? (changesFault(changes) ??
						(changes.vbas.length > countMax
							? `${changes.vbas.length} changes where ${countMax} fit`
							: undefined))
					: undefined,
		}),
		/**
		 * Right after `open`: makes changes again that `log` replied with, each VBA once and in ascending order. All or
		 * nothing.
		 */
		replay: op({request: LeafChanges, requestFault: changesFault}),
		/**
		 * Right after `open`, where nothing shall be written: the current tree is read with changes that `log` replied
		 * with on top.
		 */
		read_with: op({request: LeafChanges, requestFault: changesFault}),
		/**
		 * Writes take places from the free tree ahead, and tell it later what they have replaced: once this replies it
		 * knows of every write that replied before, and its counts are exact.
		 */
		book: op({}),
		/**
		 * Waits for running writes, then labels and stores every changed inner block of the current tree and of the
		 * pool trees, lowest level first, and replies with the trees as they now stand, and with the snapshots that a
		 * rekeying has changed: one consistent state. Everything written later carries `nextGeneration`.
		 */
		store: op({
			request: z.strictObject({
				nextGeneration: Generation,
				/**
				 * A kept snapshot has the root block of the current tree, which needs one of its own generation; it
				 * stays where there is no room.
				 */
				isRootKept: z.boolean(),
			}),
			reply: z.strictObject({
				tree: TreeRoot,
				freeTree: TreeRoot,
				metaTree: TreeRoot,
				snapshots: z.array(KeptSnapshot),
				storedBlockCount: z.number().int().nonnegative(),
			}),
		}),
	},
});
