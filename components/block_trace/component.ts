/**
 * block_trace: a filter that shows what passes.
 *
 * Guarantee: requests pass unchanged, and payload is never shown: only where it lies, how much it is and how long it
 * took.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {block} from '../sessions/block.js';
import {summarizeExtents} from './extent-summary.js';
import {OperationStatistics} from './operation-statistics.js';

const operations = ['read', 'write', 'clear', 'allocate', 'sync', 'grow'] as const;
type OperationName = (typeof operations)[number];

export default defineComponent({
	provides: {block},
	requires: {backend: block},
	wokenBySessionsOnly: true,
	config: z.strictObject({
		/** Every how many requests one is logged; 0 logs none and only counts. */
		every: z.coerce.number().int().min(0).default(1),
	}),
	start({config, sessions: {backend}, env}) {
		const statistics = new Map(operations.map(operation => [operation, new OperationStatistics()]));
		let requestCount = 0;

		function record(operation: OperationName, detail: string, startedMs: number, outcome: string): void {
			const elapsedMs = env.now() - startedMs;
			statistics.get(operation)!.add(elapsedMs, outcome !== '');
			requestCount++;
			if (config.every > 0 && requestCount % config.every === 0) {
				env.log(`${operation}${detail} in ${elapsedMs.toFixed(3)} ms${outcome}`);
			}
		}

		async function traced<T>(
			operation: OperationName,
			extents: readonly number[],
			job: () => Promise<T>,
			isDurable = false,
		): Promise<T> {
			const startedMs = env.now();
			const where = extents.length > 0 ? ` ${summarizeExtents(extents)}` : '';
			const detail = isDurable ? `${where}, durable,` : where;
			try {
				const reply = await job();
				record(operation, detail, startedMs, '');
				return reply;
			} catch (error) {
				record(operation, detail, startedMs, `: ${error instanceof Error ? error.message : String(error)}`);
				throw error;
			}
		}

		return {
			provides: {
				block: {
					geometry: async () => backend.geometry({}),
					allocation: async request => backend.allocation(request),
					read: async request => traced('read', request.extents, async () => backend.read(request)),
					write: async request =>
						traced('write', request.extents, async () => backend.write(request), request.durable),
					clear: async request => traced('clear', request.extents, async () => backend.clear(request)),
					allocate: async request =>
						traced('allocate', request.extents, async () => backend.allocate(request)),
					sync: async () => traced('sync', [], async () => backend.sync({})),
					grow: async request => traced('grow', [], async () => backend.grow(request)),
				},
			},
			status() {
				let all: Record<string, number> = {};
				for (const [operation, values] of statistics) {
					all = {...all, ...values.status(operation)};
				}

				return all;
			},
		};
	},
});
