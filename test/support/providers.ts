/** Starts a component that provides a session, alone. */
import type {Running} from '../../runtime/sdk/component.js';
import type {Client, ClientContext, Handlers, Session} from '../../runtime/sdk/session.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {loadComponent} from './component-folder.js';
import type {TestEnvironment} from './test-environment.js';
import {ProviderProcess} from './provider-process.js';

let placement: 'here' | 'process' = 'here';

/** From now on providers run in processes of their own, behind sockets. */
export function placeInProcesses(): void {
	placement = 'process';
}

export function arePlacedInProcesses(): boolean {
	return placement === 'process';
}

export interface StartedProvider<S extends Session> {
	readonly running: Running<Record<string, Session>>;
	/** A session of its own for each call. */
	connect(context?: Partial<ClientContext>): Client<S>;
	/** Everything that a handler threw and that was no SessionError. */
	readonly bugs: unknown[];
}

export async function startInProcess<S extends Session>(
	name: string,
	session: S,
	{env, config = {}}: {env: TestEnvironment; config?: Readonly<Record<string, unknown>>},
): Promise<StartedProvider<S>> {
	const provider = new ProviderProcess(name, await loadComponent(name), env, config);
	const running = await provider.started();
	return {running, bugs: provider.bugs, connect: context => provider.connect(session, context)};
}

export async function startProvider<S extends Session>(
	name: string,
	session: S,
	{env, config = {}}: {env: TestEnvironment; config?: Readonly<Record<string, unknown>>},
): Promise<StartedProvider<S>> {
	const component = await loadComponent(name);
	if (!component.start) {
		throw new Error(`${name} is no service`);
	}

	if (placement === 'process') {
		return startInProcess(name, session, {env, config});
	}

	const running = await component.start({config: component.config.parse(config), sessions: {}, env});
	const bugs: unknown[] = [];
	let sessionCount = 0;
	return {
		running: {
			...running,
			async stop() {
				await running.stop?.();
				env.claims?.releaseAll();
			},
		},
		bugs,
		connect: context =>
			connectLocal(session, running.provides[session.name] as unknown as Handlers<S>, {
				context: {session: ++sessionCount, client: 'client', ...context},
				onBug: error => void bugs.push(error),
			}),
	};
}
