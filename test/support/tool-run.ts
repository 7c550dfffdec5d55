/** Runs a tool component on this thread, on a medium and a trust anchor in memory. */
import type {Component, Environment, LogLevel, ToolResult} from '../../runtime/sdk/component.js';
import type {Handlers} from '../../runtime/sdk/session.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {block} from '../../components/sessions/block.js';
import {crypto} from '../../components/sessions/crypto.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import type {MemoryAnchor} from './memory-anchor.js';
import type {MemoryMedium} from './memory-medium.js';

export interface LogLine {
	readonly text: string;
	readonly level: LogLevel;
}

export interface ToolWorld {
	readonly medium: MemoryMedium;
	readonly anchor: MemoryAnchor;
	readonly crypto?: Handlers<typeof crypto>;
	readonly config?: Readonly<Record<string, string>>;
	/** Milliseconds that pass with each look at the clock. */
	readonly tickMs?: number;
	/** CPUs that the tool may use; 2 where it is left out. */
	readonly cpuCount?: number;
}

export interface ToolOutcome extends ToolResult {
	readonly log: readonly LogLine[];
}

const leaseLimit = 16 * 2 ** 20;

function rethrow(error: unknown): never {
	throw error;
}

function toolEnvironment(log: LogLine[], {tickMs, cpuCount}: {tickMs: number; cpuCount: number}): Environment {
	let now = 0;
	const lease = (byteLength: number) => ({bytes: Buffer.alloc(byteLength), release: () => undefined});
	return {
		name: 'tool',
		stateDirectory: '/nonexistent',
		log: (text, level = 'info') => void log.push({text, level}),
		now: () => (now += tickMs),
		timeOfDay: () => now,
		sleep: async () => undefined,
		outside: async work => work,
		randomBytes: count => new Uint8Array(count).fill(0x5a),
		fillRandom: bytes => void bytes.fill(0x5a),
		variable: () => undefined,
		secret: () => undefined,
		dropGarbage: () => undefined,
		resolvePath: path => path,
		claimDirectory: async () => 'held',
		leaseLimit,
		lease,
		leaseWhenFree: async byteLength => lease(byteLength),
		clientCount: () => 0,
		cpuCount,
		fail: reason => rethrow(new Error(reason)),
	};
}

/** Clients of a medium and an anchor in memory. */
export function connectMemory({medium, anchor}: {medium: MemoryMedium; anchor: MemoryAnchor}) {
	const options = {context: {session: 1, client: 'tool'}, onBug: rethrow};
	return {
		block: connectLocal(block, medium.handlers, options),
		trustAnchor: connectLocal(trustAnchor, anchor.handlers, options),
	};
}

export async function runTool(
	tool: Component,
	{medium, anchor, crypto: cryptoHandlers, config = {}, tickMs = 1, cpuCount = 2}: ToolWorld,
): Promise<ToolOutcome> {
	if (!tool.run) {
		throw new Error('the component is no tool');
	}

	const log: LogLine[] = [];
	const clients = connectMemory({medium, anchor});
	const result = await tool.run({
		config: tool.config.parse(config),
		sessions: {
			block: clients.block,
			trust_anchor: clients.trustAnchor,
			...(cryptoHandlers && {
				crypto: connectLocal(crypto, cryptoHandlers, {context: {session: 1, client: 'tool'}, onBug: rethrow}),
			}),
		},
		env: toolEnvironment(log, {tickMs, cpuCount}),
	});
	return {...result, log};
}
