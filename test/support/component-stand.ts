/** Single components on this thread, with the real environment: payload memory, clock and files. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type {Component, Environment, LogLevel, Running} from '../../runtime/sdk/component.js';
import {environmentServices} from '../../runtime/sdk/environment-service.js';
import type {Client, Handlers, Session} from '../../runtime/sdk/session.js';
import {makeEnvironment} from '../../runtime/host/host-environment.js';
import {watchLockOrder} from '../../components/lib/sync/lock-order.js';
import {LeasePool} from '../../runtime/transport/lease-pool.js';
import {connectLocal} from '../../runtime/transport/local.js';

export interface StandOptions {
	readonly config?: unknown;
	/** Clients by the label under which the component requires them. */
	readonly sessions?: Readonly<Record<string, unknown>>;
	readonly stateDirectory?: string;
	readonly leaseLimit?: number;
	/** Parts of the environment to replace. */
	readonly environment?: Partial<Environment>;
}

export interface Stand {
	readonly running: Running<Record<string, Session>>;
	readonly pool: LeasePool;
	readonly log: ReadonlyArray<{text: string; level: LogLevel}>;
	/** Errors that were no session errors: they would have ended the component. */
	readonly bugs: readonly unknown[];
	/** A client of a service that the component provides. */
	client<S extends Session>(session: S): Client<S>;
}

const temporaryDirectories: string[] = [];

process.once('exit', () => {
	for (const directory of temporaryDirectories) {
		fs.rmSync(directory, {recursive: true, force: true});
	}
});

/** A new directory, removed when the process ends. */
export function temporaryDirectory(): string {
	const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'cbe-test-'));
	temporaryDirectories.push(directory);
	return directory;
}

function rethrow(error: unknown): never {
	throw error;
}

export async function startComponent(component: Component, options: StandOptions = {}): Promise<Stand> {
	watchLockOrder();
	const {config = {}, sessions = {}, stateDirectory = temporaryDirectory(), leaseLimit = 96 * 2 ** 20} = options;
	const pool = new LeasePool(leaseLimit);
	const log: Array<{text: string; level: LogLevel}> = [];
	const bugs: unknown[] = [];
	const child = {
		name: 'stand',
		leaseLimit,
		cpuCount: 2,
		clientCounts: {},
		environment: environmentServices,
	} as unknown as Parameters<typeof makeEnvironment>[0];
	const env = makeEnvironment(child, stateDirectory, pool, {
		log: (text, level) => void log.push({text, level}),
		claimDirectory: async () => 'held',
		secret: () => undefined,
		fail: reason => rethrow(new Error(reason)),
	});
	const running = (await component.start!({
		config: component.config.parse(config),
		sessions: sessions as Record<string, Client<Session> | undefined>,
		env: {...env, ...options.environment},
	})) as unknown as Running<Record<string, Session>>;
	return {
		running,
		pool,
		log,
		bugs,
		client: session =>
			connectLocal(session, running.provides[session.name] as unknown as Handlers<typeof session>, {
				context: {session: 1, client: 'test'},
				onBug: error => void bugs.push(error),
			}),
	};
}
