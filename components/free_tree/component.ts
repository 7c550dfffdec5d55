/**
 * free_tree: exchanges blocks for copy-on-write.
 *
 * Guarantee: a block is handed out only when no secured state and no kept snapshot needs it, and every exchange happens
 * whole or not at all.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {HeldBlocks} from '../lib/tree/held-blocks.js';
import {Mutex} from '../lib/sync/mutex.js';
import {cache} from '../sessions/cache.js';
import {exchangeItemLength, freeTree} from '../sessions/free-tree.js';
import {Horizon} from './horizon.js';
import {Pool} from './pool.js';

/**
 * Frames that serve the trees however large they are: 24 MiB. Slots are handed out in their order, and a replaced block
 * goes into the slot whose block replaces it, so of trees larger than that no block is met again before all others. Half
 * of the frames may be changed before the state is secured: more than 196,000 slots.
 */
const frameCountMax = 6144;

export default defineComponent({
	provides: {free_tree: freeTree},
	requires: {cache},
	stateful: true,
	wokenBySessionsOnly: true,
	config: z.strictObject({}),
	async start({sessions, env}) {
		const held = await HeldBlocks.attach(sessions.cache, frameCountMax);
		const mutex = new Mutex('pool');
		let pool: Pool | undefined;
		let exchangedCount = 0;

		/** Runs one operation on the opened pool at a time, and logs what is wrong on the medium. */
		async function onPool<T>(job: (opened: Pool) => Promise<T>): Promise<T> {
			return mutex.run(async () => {
				if (!pool) {
					throw new SessionError('bad_request', 'the free tree has not been opened');
				}

				try {
					return await job(pool);
				} catch (error) {
					if (error instanceof SessionError && error.code === 'integrity') {
						env.log(`integrity error in the free tree: ${error.message}`, 'error');
					}

					throw error;
				}
			});
		}

		return {
			provides: {
				free_tree: {
					open: async request =>
						mutex.run(async () => {
							held.reset(request.innerBlocks);
							pool = new Pool(held, {...request, horizon: new Horizon(request.horizon)});
							return {};
						}),
					exchange: async ({items, ...purpose}) =>
						onPool(async opened => {
							const exchanged = await opened.exchange(items, purpose);
							exchangedCount += items.length / exchangeItemLength;
							return exchanged;
						}),
					take_ahead: async ({count}) => onPool(async opened => opened.takeAhead(count)),
					book: async ({items, leaves}) =>
						onPool(async opened => {
							await opened.book(items, leaves);
							exchangedCount += leaves.length;
							return {};
						}),
					reserve: async ({items}) => onPool(async opened => opened.reserve(items)),
					sweep: async ({firstLeaf, rekeyed}) =>
						onPool(async opened => ({nextLeaf: await opened.sweep(firstLeaf, rekeyed)})),
					restore: async ({leaves, addresses, isNext}) =>
						onPool(async opened => {
							await opened.restore(leaves, addresses, isNext);
							return {};
						}),
					swap: async ({items, leaves, keyId}) =>
						onPool(async opened => {
							await opened.swap(items, leaves, keyId);
							return {};
						}),
					extend: async request => onPool(async opened => opened.extend(request)),
					store: async () => onPool(async opened => opened.store()),
					begin: async ({currentGeneration}) =>
						onPool(async opened => {
							opened.horizon.currentGeneration = currentGeneration;
							return {};
						}),
					advance: async request =>
						onPool(async opened => {
							opened.horizon.advance(request);
							return {};
						}),
					spare: async ({ranges}) => onPool(async opened => opened.spare(ranges)),
					verify: async ({firstLeaf}) => onPool(async opened => opened.verify(firstLeaf)),
					async sole_holdings({firstLeaf}) {
						const {nextLeaf, holdings} = await onPool(async opened => opened.soleHoldings(firstLeaf));
						return {nextLeaf, holdings: [...holdings]};
					},
					async usage() {
						for (;;) {
							// Others get their turn between two steps.
							const usage = await onPool(async opened => opened.usage());
							if (usage) {
								return usage;
							}
						}
					},
				},
			},
			status: () => ({exchanged_blocks: exchangedCount}),
		};
	},
});
