/**
 * Exchange of blocks for copy-on-write (format section 5). The free tree hands out a block of its pool for every block
 * that a writer replaces, and keeps the replaced one until no secured state and no snapshot needs it.
 */
import {z} from 'zod';
import {defineSession, op, vector} from '../../runtime/sdk/session.js';
import {TreeRoot} from './tree-root.js';
import {Generation, Vba, extents, extentsFault, itemsFault, lengthFault, pbas, vbas} from './vocabulary.js';

/** While rekeying: blocks sealed with the previous key below the rekeying VBA have been replaced for every snapshot. */
const Rekeying = z.strictObject({previousKeyId: z.number().int().positive(), rekeyingVba: Vba});

/** What decides whether a pool block may be handed out. */
const Horizon = z.strictObject({
	/** Everything written now carries this generation. */
	currentGeneration: Generation,
	lastSecuredGeneration: Generation,
	/** Generations of the kept snapshots. (The last secured state is protected by its generation alone.) */
	snapshotGenerations: z.array(Generation),
	/** As the secured superblock says; null while no rekeying is going on. */
	rekeying: Rekeying.nullable(),
	/**
	 * Blocks that only `relief` may take: as many as trims, reverting and growth may need where data fills everything
	 * else.
	 */
	setAsideCount: z.number().int().nonnegative(),
});

/** Values for each replaced block in `exchange`: PBA, generation of its node, lowest VBA below the node. */
export const exchangeItemLength = 3;

/** Values for each block in `swap`: PBA to take out; PBA, generation, lowest VBA of the block to take in. */
export const swapItemLength = 4;

/** Values for each block in `book`: PBA taken ahead; PBA, generation, lowest VBA and key id of the block it replaced. */
export const bookItemLength = 5;

/**
 * Values for each block in `reserve`: generation of its node, free generation, last VBA, last key id (format section
 * 5).
 */
export const reserveItemLength = 4;

/** A place, and the pool entry that it came from, for each item. */
function placesFault(
	{addresses, leaves}: {readonly addresses: readonly number[]; readonly leaves: readonly number[]},
	itemCount: number,
): string | undefined {
	return lengthFault(itemCount, 'addresses', addresses) ?? lengthFault(itemCount, 'leaves', leaves);
}

export const freeTree = defineSession('free_tree', {
	errors: [
		/** Fewer pool blocks can be handed out than were asked for; nothing was changed. */
		'no_space',
		/** A block of the free tree or the meta tree is not what was stored there. */
		'integrity',
		/** The medium failed. */
		'device_failed',
	],
	ops: {
		/** Starts over from these secured trees; everything not stored is forgotten. */
		open: op({
			request: z.strictObject({
				freeTree: TreeRoot,
				metaTree: TreeRoot,
				horizon: Horizon,
				innerBlocks: z.literal('encrypted').optional(),
			}),
		}),
		/**
		 * Takes `items` (PBA, generation, lowest VBA; flat) of replaced blocks in and hands out as many new PBAs, in
		 * the same order. `leaves` names the pool entry that each exchange used. `reserved`: snapshots may need the
		 * replaced blocks. `relief`: what is set aside may be handed out, too. All or nothing.
		 */
		exchange: op({
			request: z.strictObject({
				items: vector(),
				keyId: z.number().int().nonnegative(),
				reserved: z.boolean(),
				relief: z.literal(true).optional(),
			}),
			reply: z.strictObject({addresses: pbas(), leaves: vbas()}),
			requestFault: ({items}) => itemsFault('items', items, exchangeItemLength),
			replyFault: (reply, {items}) => placesFault(reply, items.length / exchangeItemLength),
		}),
		/**
		 * Hands out up to `count` blocks ahead of their use. None of them is handed out again before the current
		 * generation is secured, whatever becomes of them; until they are booked or restored they belong to the pool.
		 * Fewer, perhaps none, where the pool is not ample.
		 */
		take_ahead: op({
			request: z.strictObject({count: z.number().int().positive()}),
			reply: z.strictObject({addresses: pbas(), leaves: vbas()}),
			replyFault: (reply, {count}) =>
				reply.addresses.length > count
					? `${reply.addresses.length} blocks where ${count} were asked for`
					: placesFault(reply, reply.addresses.length),
		}),
		/**
		 * Takes in what blocks that were taken ahead in the current generation have replaced, as `exchange` does with
		 * `reserved`: `items` are (PBA taken ahead; PBA, generation, lowest VBA and key id of the replaced block;
		 * flat), `leaves` the pool entry of each. All or nothing.
		 */
		book: op({
			request: z.strictObject({items: vector(), leaves: vbas()}),
			requestFault: ({items, leaves}) =>
				itemsFault('items', items, bookItemLength) ??
				lengthFault(items.length / bookItemLength, 'leaves', leaves),
		}),
		/**
		 * Hands out blocks for older snapshots: they stay listed in their entries, reserved as `items` say. All or
		 * nothing.
		 */
		reserve: op({
			request: z.strictObject({items: vector()}),
			reply: z.strictObject({addresses: pbas(), leaves: vbas()}),
			requestFault: ({items}) => itemsFault('items', items, reserveItemLength),
			replyFault: (reply, {items}) => placesFault(reply, items.length / reserveItemLength),
		}),
		/**
		 * Frees entries from `firstLeaf` on that only held content under the previous key: those of leaves below
		 * `rekeyingVba`, up to which a secured state has been rekeyed. A bounded part; replies with the next leaf to
		 * sweep from, null at the end.
		 */
		sweep: op({
			request: z.strictObject({firstLeaf: z.number().int().nonnegative(), rekeyed: Rekeying}),
			reply: z.strictObject({nextLeaf: z.number().int().nonnegative().nullable()}),
		}),
		/**
		 * Undoes exchanges of the current generation whose new blocks were never used: `leaves` get `addresses` back.
		 * `isNext`: nobody has tried to write there, so they are the next to be handed out.
		 */
		restore: op({
			request: z.strictObject({leaves: vbas(), addresses: pbas(), isNext: z.literal(true).optional()}),
			requestFault: ({leaves, addresses}) => lengthFault(leaves.length, 'addresses', addresses),
		}),
		/**
		 * Takes blocks out of the pool that older snapshots held, and others in for them: `items` are (PBA to take out,
		 * PBA, generation and lowest VBA of the block to take in; flat). `leaves`: the entry of each; where it is empty
		 * all entries are searched. All or nothing.
		 */
		swap: op({
			request: z.strictObject({items: vector(), leaves: vbas(), keyId: z.number().int().nonnegative()}),
			requestFault: ({items, leaves}) =>
				itemsFault('items', items, swapItemLength) ??
				(leaves.length === 0 ? undefined : lengthFault(items.length / swapItemLength, 'leaves', leaves)),
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
		/** Labels and stores every changed block of both trees, lowest level first, and replies with their roots. */
		store: op({
			reply: z.strictObject({
				freeTree: TreeRoot,
				metaTree: TreeRoot,
				storedBlockCount: z.number().int().nonnegative(),
			}),
		}),
		/** What is exchanged from now on carries this generation. Everything changed must have been stored. */
		begin: op({request: z.strictObject({currentGeneration: Generation})}),
		/** A state has been secured or a snapshot discarded: more may be handed out from now on. */
		advance: op({
			request: z.strictObject({
				lastSecuredGeneration: Generation,
				snapshotGenerations: z.array(Generation),
				rekeying: Rekeying.nullable(),
				setAsideCount: z.number().int().nonnegative(),
			}),
		}),
		/**
		 * Blocks that could be handed out now, of the entries in `ranges` (pairs of first leaf and count; flat; they
		 * may reach beyond the last entry). Until the next exchange nobody needs what they hold. Replies with the
		 * pool's size, too.
		 */
		spare: op({
			request: z.strictObject({ranges: extents()}),
			reply: z.strictObject({addresses: pbas(), leafCount: z.number().int().nonnegative()}),
			requestFault: ({ranges}) => extentsFault(ranges),
		}),
		/**
		 * Compares inner blocks of both trees, as they lie on the medium, with the labels in their parents: a bounded
		 * part, from `firstLeaf` on (those of the meta tree follow those of the free tree). Replies where to go on;
		 * null at the end.
		 */
		verify: op({
			request: z.strictObject({firstLeaf: z.number().int().nonnegative()}),
			reply: z.strictObject({
				nextLeaf: z.number().int().nonnegative().nullable(),
				checkedBlockCount: z.number().int().nonnegative(),
				damages: z.array(z.string()),
			}),
		}),
		/**
		 * Counts blocks that only one kept snapshot holds, which become spare with it: in a bounded part, from
		 * `firstLeaf` on. Replies where to go on; null at the end.
		 */
		sole_holdings: op({
			request: z.strictObject({firstLeaf: z.number().int().nonnegative()}),
			reply: z.strictObject({
				nextLeaf: z.number().int().nonnegative().nullable(),
				holdings: z.array(z.strictObject({generation: Generation, blockCount: z.number().int().positive()})),
			}),
		}),
		/**
		 * Counts the pool: how many blocks there are, how many could be handed out now, how many older snapshots hold.
		 * The others will be there once the state is secured.
		 */
		usage: op({
			reply: z.strictObject({
				leafCount: z.number().int().nonnegative(),
				allocatableCount: z.number().int().nonnegative(),
				heldCount: z.number().int().nonnegative(),
			}),
		}),
	},
});
