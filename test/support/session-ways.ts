/**
 * The ways from a client to a server, so that a contract is held to on each of them: on one thread, through rings to
 * another thread, through a socket to another process.
 */
import type {Running} from '../../runtime/sdk/component.js';
import type {Client, ClientContext, Handlers, Session} from '../../runtime/sdk/session.js';
import {socketPair} from '../../runtime/isolation/socket-pair.js';
import {ClientEnd} from '../../runtime/transport/client-end.js';
import {doorbell} from '../../runtime/transport/doorbell.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {threadEnds} from '../../runtime/transport/ring-port.js';
import {ServerEnd} from '../../runtime/transport/server-end.js';

export type SessionWay = 'on one thread' | 'through rings' | 'through a socket';

/** Ways of any session. */
export const sessionWays: readonly SessionWay[] = ['on one thread', 'through rings', 'through a socket'];

/** Ways of a session whose two ends share memory. */
export const sharedMemoryWays: readonly SessionWay[] = ['on one thread', 'through rings'];

export interface WayEnds<S extends Session> {
	readonly client: Client<S>;
	/** What the server threw that was no error of its contract, and replies that did not fit. */
	readonly bugs: readonly unknown[];
	close(): Promise<void>;
}

let sessionCount = 0;

/** Connects a client with what a component provides. */
export function connectBy<S extends Session>(way: SessionWay, session: S, running: Running<never>): WayEnds<S> {
	const handlers = (running.provides as Record<string, unknown>)[session.name] as Handlers<S>;
	const context: ClientContext = {session: ++sessionCount, client: 'client'};
	const bugs: unknown[] = [];
	const onBug = (error: unknown) => void bugs.push(error);
	if (way === 'on one thread') {
		return {client: connectLocal(session, handlers, {context, onBug}), bugs, close: async () => undefined};
	}

	const [ours, theirs] =
		way === 'through rings'
			? threadEnds(doorbell.bell, doorbell.bell)
			: socketPair().map(socket => ({socket}) as const);
	const server = new ServerEnd(theirs, {
		session,
		handlers,
		context,
		onBug,
		count: () => undefined,
	});
	const end = new ClientEnd({session, server: 'server', onBadReply: onBug});
	end.connect(ours, {onBroken: reason => void bugs.push(reason)});
	return {
		client: end.client() as unknown as Client<S>,
		bugs,
		async close() {
			end.disconnect(true);
			await server.close();
		},
	};
}
