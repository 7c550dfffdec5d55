/**
 * Blocks of 4096 bytes by number. The medium, the finished encrypted device and every filter between speak this one
 * contract, so front ends can be wired to any of them and devices can be stacked.
 */
import {z} from 'zod';
import {bulk, defineSession, op} from '../../runtime/sdk/session.js';
import {allocationFault, allocationRange, allocationRangeFault, AllocationReply} from './allocation.js';
import {BlockCount, extents, extentsFault, payloadFault} from './vocabulary.js';

export {blockSize} from './vocabulary.js';

/** Most blocks that one request may carry or clear: 32 MiB. */
export const requestBlockCountMax = 8192;

/** The payload holds the blocks of all extents in their order. */
const transferFault = (request: {readonly extents: readonly number[]; readonly data: Uint8Array}) =>
	payloadFault(request.extents, request.data);

export const block = defineSession('block', {
	misfit: 'out_of_range',
	errors: [
		/** An extent reaches beyond the last block, or extents and payload do not fit each other. */
		'out_of_range',
		/** The medium failed; of a write, a part may have happened. */
		'device_failed',
		/** No room for new data; a part of the write may have happened. */
		'no_space',
		/** What the medium returned is not what was stored there. */
		'integrity',
		/** The device does not accept writes. */
		'read_only',
		/** The device is locked: nobody has given its keys yet, or they were taken away. */
		'locked',
	],
	ops: {
		/** `volatile`: what is stored there ends with the provider. */
		geometry: op({
			reply: z.strictObject({
				blockCount: BlockCount,
				writable: z.boolean(),
				growable: z.boolean(),
				volatile: z.boolean().optional(),
			}),
		}),
		/** Reads the blocks of `extents`, in that order, into `data`. */
		read: op({request: z.strictObject({extents: extents(), data: bulk('out')}), requestFault: transferFault}),
		/**
		 * What is known of blocks without reading them. A hole reads as zeroes; a provider that knows nothing, or not
		 * enough, says that there is data. What was written and acknowledged before the request is never told as a
		 * hole.
		 */
		allocation: op({
			request: z.strictObject(allocationRange),
			reply: AllocationReply,
			requestFault: allocationRangeFault,
			replyFault: allocationFault,
		}),
		/**
		 * Writes `data` to the blocks of `extents`. Not durable before a `sync` that starts after the reply. Where it
		 * fails, each block of a finished device has its old or its new content; one of a medium may also have a
		 * mixture of both.
		 *
		 * `durable`: this write, and every write and clearing that replied before it was sent, is durable once it
		 * replies `isDurable`; as if a `sync` followed it. It fails as a write does where the detail of the error says
		 * `isBeforeSync`, and in any other case as a sync.
		 */
		write: op({
			request: z.strictObject({extents: extents(), data: bulk('in'), durable: z.literal(true).optional()}),
			reply: z.strictObject({isDurable: z.literal(true).optional()}),
			requestFault: transferFault,
			replyFault: ({isDurable}, {durable}) =>
				durable && !isDurable ? 'the provider does not say that the write is durable' : undefined,
		}),
		/**
		 * Makes the blocks of `extents` read as zeroes; their room may be given back to whoever stores them. Not
		 * durable before a `sync` that starts after the reply. Where it fails, a part of the blocks may have been
		 * cleared.
		 */
		clear: op({
			request: z.strictObject({extents: extents()}),
			requestFault: request => extentsFault(request.extents),
		}),
		/**
		 * Takes room for the blocks of `extents` from whoever stores them, so that writing them needs none any more
		 * before they are cleared. Their content stays. No room: `no_space`; it may have been taken for a part of them.
		 */
		allocate: op({
			request: z.strictObject({extents: extents()}),
			requestFault: request => extentsFault(request.extents),
		}),
		/** Once it replies, every write and clearing that replied before it was sent is durable. */
		sync: op({}),
		/** Makes a growable device at least `blockCount` blocks large; the new blocks read as zeroes. Never shrinks. */
		grow: op({request: z.strictObject({blockCount: z.number().int().positive()})}),
	},
});
