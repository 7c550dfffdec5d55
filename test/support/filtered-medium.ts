/**
 * A medium some of whose answers a test replaces: requests of a block session go on to the medium below, but for those
 * that the test answers itself.
 */
import {z} from 'zod';
import {writeDurably} from '../../components/lib/format/durable-write.js';
import {block} from '../../components/sessions/block.js';
import {defineComponent} from '../../runtime/sdk/component.js';
import type {Client, Handlers} from '../../runtime/sdk/session.js';
import type {AssemblyChild} from './assembly.js';

/** The answers that are not the medium's own. */
export type Overrides = (below: Client<typeof block>) => Partial<Handlers<typeof block>>;

export function filteredMedium(overrides: Overrides): AssemblyChild['component'] {
	return defineComponent({
		provides: {block},
		requires: {block},
		config: z.strictObject({}),
		start({sessions}) {
			const handlers = {...passedOn(sessions.block), ...overrides(sessions.block)};
			return {
				provides: {
					block: {
						...handlers,
						// A durable write is a write and a sync, whatever the test answers to either.
						write: ({extents, data, durable}, context) =>
							durable
								? writeDurably(
										async () => handlers.write({extents, data}, context),
										async () => handlers.sync({}, context),
									)
								: handlers.write({extents, data}, context),
					},
				},
			};
		},
	});
}

function passedOn(below: Client<typeof block>): Handlers<typeof block> {
	return {
		geometry: async request => below.geometry(request),
		allocation: async request => below.allocation(request),
		read: async request => below.read(request),
		write: async request => below.write(request),
		clear: async request => below.clear(request),
		allocate: async request => below.allocate(request),
		sync: async request => below.sync(request),
		grow: async request => below.grow(request),
	};
}

/** The blocks of extents, one by one. */
export function addressesOf(extents: readonly number[]): number[] {
	return extents.flatMap((first, i) =>
		i % 2 === 0 ? Array.from({length: extents[i + 1]}, (_, block) => first + block) : [],
	);
}
