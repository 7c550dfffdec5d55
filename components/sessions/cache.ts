/**
 * Verified inner blocks of the trees, in memory shared with the client. The client decides which of its frames hold
 * what, so a hit costs it no message; the cache loads, verifies, labels and stores.
 */
import {z} from 'zod';
import {bytes, defineSession, op, region} from '../../runtime/sdk/session.js';
import {frames, indexes, indexesFault, labelsFault, lengthFault, pbas} from './vocabulary.js';

/** Pairs of a block's index and a node (frame * 64 + index), ascending by the former. */
function placesFault(places: readonly number[], blockCount: number): string | undefined {
	if (places.length % 2 !== 0) {
		return 'places are pairs of an index and a node';
	}

	for (let i = 0; i < places.length; i += 2) {
		if (places[i] >= blockCount || (i > 0 && places[i] < places[i - 2])) {
			return `places do not name some of ${blockCount} blocks in their order`;
		}
	}

	return undefined;
}

export const cache = defineSession('cache', {
	misfit: 'out_of_range',
	errors: [
		/** The medium failed. */
		'device_failed',
		/** No room on the medium's host. */
		'no_space',
		/** A frame or node beyond the client's memory, or vectors that do not fit each other. */
		'out_of_range',
	],
	ops: {
		/**
		 * Replies with this client's frames: `frameCount` blocks of 4096 bytes in one piece of shared memory. They are
		 * no more than the client has use for, `frameCountMax`; what it leaves is the others'. Asking again forgets and
		 * changes nothing.
		 */
		attach: op({
			request: z.strictObject({frameCountMax: z.number().int().positive().optional()}),
			reply: z.strictObject({memory: region(), frameCount: z.number().int().positive()}),
		}),
		/**
		 * Reads the blocks at `addresses` into `frames` and checks each against its label (32 bytes each in `labels`).
		 * Blocks that do not match are listed by index in `mismatched` and their frames zeroed. `encrypted`: the blocks
		 * are encrypted on the medium under the key of inner blocks, and their labels are of what lies there.
		 */
		load: op({
			request: z.strictObject({
				frames: frames(),
				addresses: pbas(),
				labels: bytes(),
				encrypted: z.literal(true).optional(),
			}),
			reply: z.strictObject({mismatched: indexes()}),
			requestFault: ({frames, addresses, labels}) =>
				lengthFault(frames.length, 'addresses', addresses) ?? labelsFault(labels, frames.length),
			replyFault: ({mismatched}, {frames}) => indexesFault('mismatched', mismatched, frames.length),
		}),
		/**
		 * Reads the blocks at `addresses` and compares each with its label (32 bytes each in `labels`); keeps nothing.
		 */
		verify: op({
			request: z.strictObject({addresses: pbas(), labels: bytes()}),
			reply: z.strictObject({mismatched: indexes()}),
			requestFault: ({addresses, labels}) => labelsFault(labels, addresses.length),
			replyFault: ({mismatched}, {addresses}) => indexesFault('mismatched', mismatched, addresses.length),
		}),
		/**
		 * Labels the blocks in `frames` in that order, parents after their children, and writes all of them to
		 * `addresses`. `places`: where labels go before the next block is labelled, as pairs of an index in `frames`
		 * and a node (frame * 64 + index), ascending by the former. `encrypted` as for `load`. Not durable before a
		 * `sync` of the medium. Where it fails, labels may stand in their nodes and blocks on the medium already.
		 */
		store: op({
			request: z.strictObject({
				frames: frames(),
				addresses: pbas(),
				places: indexes(),
				encrypted: z.literal(true).optional(),
			}),
			reply: z.strictObject({labels: bytes()}),
			requestFault: ({frames, addresses, places}) =>
				lengthFault(frames.length, 'addresses', addresses) ?? placesFault(places, frames.length),
			replyFault: ({labels}, {frames}) => labelsFault(labels, frames.length),
		}),
	},
});
