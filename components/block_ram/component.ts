/**
 * block_ram: blocks in memory, for tests and demonstrations.
 *
 * Guarantee: what was written reads back while the component lives; everything is gone with it. That is why it counts
 * as stateful: its clients must start over when it dies, instead of finding zeroes.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {requireBlocks, requireExtents} from '../lib/format/extents.js';
import {byteSize} from '../lib/format/size-config.js';
import {AllocationRuns} from '../lib/format/allocation-runs.js';
import {allocationKinds} from '../sessions/allocation.js';
import {block, blockSize} from '../sessions/block.js';
import {SparseMemory} from './sparse-memory.js';

/** As messages name it. */
const owner = 'the memory';

/** Blocks that one request about allocation looks at. */
const lookCountMax = 65_536;

export default defineComponent({
	provides: {block},
	stateful: true,
	wokenBySessionsOnly: true,
	config: z.strictObject({
		/**
		 * Size of the device; memory is taken only where blocks are written. Without it the device is empty and grows.
		 */
		size: byteSize().optional(),
	}),
	start({config}) {
		const memory = new SparseMemory();
		const growable = config.size === undefined;
		let blockCount = Math.floor((config.size ?? 0) / blockSize);

		function eachExtent(
			extents: readonly number[],
			data: Uint8Array,
			visit: (position: number, part: Uint8Array) => void,
		): Record<string, never> {
			requireExtents(extents, blockCount, owner);
			let offset = 0;
			for (let i = 0; i < extents.length; i += 2) {
				const length = extents[i + 1] * blockSize;
				visit(extents[i] * blockSize, data.subarray(offset, offset + length));
				offset += length;
			}

			return {};
		}

		return {
			provides: {
				block: {
					geometry: () => ({blockCount, writable: true, growable, volatile: true}),
					read: ({extents, data}) =>
						eachExtent(extents, data, (position, part) => {
							memory.read(position, part);
						}),
					allocation({first, count}) {
						requireBlocks(first, count, blockCount, owner);
						const runs = new AllocationRuns();
						for (
							let index = first;
							index < Math.min(first + count, first + lookCountMax) && !runs.isFull;
							index++
						) {
							runs.add(1, memory.isHole(index * blockSize) ? allocationKinds.hole : allocationKinds.data);
						}

						return {runs: runs.pairs};
					},
					write({extents, data, durable}) {
						eachExtent(extents, data, (position, part) => {
							memory.write(position, part);
						});
						return durable ? {isDurable: durable} : {};
					},
					clear({extents}) {
						requireExtents(extents, blockCount, owner);
						for (let i = 0; i < extents.length; i += 2) {
							memory.clear(extents[i] * blockSize, extents[i + 1] * blockSize);
						}

						return {};
					},
					/** Memory is the quantum's; it is taken where something is written. */
					allocate({extents}) {
						requireExtents(extents, blockCount, owner);
						return {};
					},
					sync: () => ({}),
					grow(request) {
						if (request.blockCount > blockCount && !growable) {
							throw new SessionError(
								'no_space',
								`the device has ${blockCount} blocks and may not grow to ${request.blockCount}; leave size out to allow it`,
							);
						}

						blockCount = Math.max(blockCount, request.blockCount);
						return {};
					},
				},
			},
			status: () => ({bytes: blockCount * blockSize, allocated_bytes: memory.allocatedByteLength}),
		};
	},
});
