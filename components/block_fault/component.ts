/**
 * block_fault: a filter that fails on purpose, to see what the rest of an assembly makes of it.
 *
 * Guarantee: requests that the schedule does not strike pass unchanged, and which ones it strikes depends on their
 * count alone. The count starts over when the component is restarted.
 */
import {z} from 'zod';
import {defineComponent, type Environment} from '../../runtime/sdk/component.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {byteSize} from '../lib/format/size-config.js';
import {writeDurably} from '../lib/format/durable-write.js';
import {block, blockSize} from '../sessions/block.js';
import {FaultSchedule} from './fault-schedule.js';

type Backend = Client<typeof block>;
type OperationName = 'read' | 'write' | 'clear' | 'sync';

const actions = [
	/** The request fails and does not reach the backend, but for the part of a write that `written` names. */
	'error',
	/** One bit of every block is flipped: of what was read, or of what gets written. */
	'corrupt',
	/** The request waits for `delay_ms`. */
	'delay',
	/** The component dies of a bug. */
	'throw',
	/** The component exits. */
	'exit',
	/** The component's thread never comes back, so that it misses its heartbeat. */
	'hang',
	/** The component takes memory until its quantum is used up. */
	'leak',
] as const;

type Action = (typeof actions)[number];

function count(fallback: number, least: number) {
	return z.coerce.number().int().min(least).default(fallback);
}

const config = z
	.strictObject({
		action: z.enum(actions),
		/** Which requests count. */
		operation: z.enum(['read', 'write', 'clear', 'sync', 'any']).default('any'),
		fail_every: count(1, 1),
		after: count(0, 0),
		times: count(Number.MAX_SAFE_INTEGER, 0),
		delay_ms: count(1000, 0),
		/** With `error`: what the request fails with. */
		code: z.enum(['device_failed', 'no_space']).default('device_failed'),
		/** With `error`: so many bytes of a write have been written before it fails. */
		written: byteSize().optional(),
	})
	.refine(
		({action, written}) => action === 'error' || written === undefined,
		'written says how much of a write arrives that fails; it needs action="error"',
	);

/** Writes the first bytes of a request: whole blocks, and a part of the next one. */
async function writePart(
	backend: Backend,
	{extents, data}: Parameters<Backend['write']>[0],
	byteLength: number,
): Promise<void> {
	let offset = 0;
	for (let i = 0; i < extents.length; i += 2) {
		for (
			let address = extents[i];
			address < extents[i] + extents[i + 1] && offset < byteLength;
			address++, offset += blockSize
		) {
			const content = Buffer.from(data.subarray(offset, offset + blockSize));
			if (byteLength - offset < blockSize) {
				const before = Buffer.alloc(blockSize);
				await backend.read({extents: [address, 1], data: before});
				before.copy(content, byteLength - offset, byteLength - offset);
			}

			await backend.write({extents: [address, 1], data: content});
		}
	}
}

/** Flips one bit per block, never the same bit of two blocks in a row. */
function flipBits(data: Uint8Array): void {
	for (let offset = 0; offset < data.length; offset += blockSize) {
		const index = offset / blockSize;
		data[offset + ((index * 31) % blockSize)] ^= 1 << (index % 8);
	}
}

function leakForever(): never {
	const held: string[][] = [];
	for (;;) {
		held.push(Array.from({length: 10_000}, (_, index) => `leak ${held.length} ${index}`));
	}
}

function hangForever(): never {
	for (;;) {
		// The thread is meant to be stuck here.
	}
}

/** Faults of the component itself, after which no request goes on. */
function perish(action: Action, env: Environment): void {
	env.log(`the fault strikes: ${action}`, 'warning');
	switch (action) {
		case 'throw': {
			throw new Error('a fault on purpose');
		}

		case 'exit': {
			return process.exit(1);
		}

		case 'hang': {
			return hangForever();
		}

		case 'leak': {
			return leakForever();
		}

		default:
	}
}

export default defineComponent({
	provides: {block},
	requires: {backend: block},
	wokenBySessionsOnly: true,
	config,
	start({config, sessions: {backend}, env}) {
		const schedule = new FaultSchedule({after: config.after, failEvery: config.fail_every, times: config.times});

		/** What strikes this request, if anything. Faults that end the component never return. */
		async function struckBy(
			operation: OperationName,
			request?: Parameters<Backend['write']>[0],
		): Promise<Action | undefined> {
			if ((config.operation !== 'any' && config.operation !== operation) || !schedule.strikes()) {
				return undefined;
			}

			perish(config.action, env);
			if (config.action === 'error') {
				if (request) {
					await writePart(backend, request, config.written ?? 0);
				}

				throw new SessionError(config.code, `${operation} failed on purpose`);
			}

			if (config.action === 'delay') {
				await env.sleep(config.delay_ms);
			}

			return config.action;
		}

		async function read(request: Parameters<Backend['read']>[0]): Promise<Record<string, never>> {
			const struck = await struckBy('read');
			await backend.read(request);
			if (struck === 'corrupt') {
				flipBits(request.data);
			}

			return {};
		}

		async function write(request: Parameters<Backend['write']>[0]): Promise<Record<string, never>> {
			let {data} = request;
			if ((await struckBy('write', request)) === 'corrupt') {
				// The client's own buffer stays as it is.
				data = Buffer.from(data);
				flipBits(data);
			}

			await backend.write({extents: request.extents, data});
			return {};
		}

		async function sync(): Promise<Record<string, never>> {
			await struckBy('sync');
			await backend.sync({});
			return {};
		}

		return {
			provides: {
				block: {
					geometry: async () => backend.geometry({}),
					allocation: async request => backend.allocation(request),
					read,
					// A durable one counts as a write and as a sync.
					write: async request =>
						request.durable ? writeDurably(async () => write(request), sync) : write(request),
					async clear(request) {
						await struckBy('clear');
						await backend.clear(request);
						return {};
					},
					async allocate(request) {
						await backend.allocate(request);
						return {};
					},
					sync,
					async grow(request) {
						await backend.grow(request);
						return {};
					},
				},
			},
			status: () => ({faults: schedule.faultCount}),
		};
	},
});
