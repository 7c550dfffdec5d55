/**
 * The sessions between children: opens them, closes those of lost clients, reconnects those of survivors, and knows
 * which survivor has yet to be told what.
 */
import type {Child} from '../deployment/checked-deployment.js';
import type {Connection, Interruption} from '../host/messages.js';
import {socketPair} from '../isolation/socket-pair.js';
import {makeBell} from '../transport/doorbell.js';
import {threadEnds} from '../transport/ring-port.js';
import type {SessionHandle} from '../transport/session-port.js';
import type {ChildGraph, RouteEdge} from './child-graph.js';
import {Deferred} from './deferred.js';
import type {ManagedChild, ManagedGroup} from './managed-child.js';
import type {SessionName} from './change-plan.js';

/** Time for a surviving server to end what it still does for a dead client. */
const closeTimeLimitMs = 15_000;

interface Closing {
	readonly server: ManagedChild;
	readonly confirmed: Deferred<void>;
}

/** The same for a session of a child that goes on, whatever deployment says where it leads. */
function keyOf(child: string, label: string): string {
	return `${child} ${label}`;
}

function edgeKey({client, route}: RouteEdge): string {
	return keyOf(client.name, route.label);
}

/** Sockets lead into other processes, rings to other threads. */
function sessionEnds(client: ManagedGroup, server: ManagedGroup): readonly [SessionHandle, SessionHandle] {
	if (client.isolation || server.isolation) {
		const [one, other] = socketPair();
		return [{socket: one}, {socket: other}];
	}

	// One that is gone meanwhile hears nothing any more.
	const [clientBell, serverBell] = [client, server].map(({thread}) => thread?.bell ?? makeBell());
	return threadEnds(serverBell, clientBell);
}

export class SessionWiring {
	#graph: ChildGraph;
	readonly #of: (child: Child) => ManagedChild;
	/** Numbers of the sessions that are connected. */
	readonly #sessions = new Map<string, number>();
	/** What surviving clients have yet to be told about their sessions. */
	readonly #interruptions = new Map<string, Interruption>();
	readonly #closings = new Map<number, Closing>();
	/** Clients that were asked to hold their requests, by session. */
	readonly #holdings = new Map<number, Deferred<void>>();
	/** Clients that were connected on trial, by session; they answer with what went wrong. */
	readonly #trials = new Map<number, Deferred<string | undefined>>();
	#lastSession = 0;

	constructor(graph: ChildGraph, of: (child: Child) => ManagedChild) {
		this.#graph = graph;
		this.#of = of;
	}

	/**
	 * From now on sessions lead where another deployment says; `reset` names those behind which there is other data.
	 */
	adopt(graph: ChildGraph, reset: readonly SessionName[]): void {
		this.#graph = graph;
		for (const {child, label} of reset) {
			this.#interruptions.set(keyOf(child, label), 'reset');
		}
	}

	/**
	 * Back to the deployment before: clients that have not been told of other data need not be, the rest is told again.
	 */
	retract(graph: ChildGraph, reset: readonly SessionName[]): void {
		this.#graph = graph;
		for (const {child, label} of reset) {
			const key = keyOf(child, label);
			if (!this.#interruptions.delete(key)) {
				this.#interruptions.set(key, 'reset');
			}
		}
	}

	/** Connects surviving clients to a server that is up again. */
	reconnectClients(server: Child): void {
		for (const edge of this.#unconnected(server)) {
			this.#reconnect(edge);
		}
	}

	/**
	 * Connects clients that went on to a server that is up, one after the other: what a client tells its server (keys),
	 * the servers of the client may rely on, so the last ones in the order of start come first.
	 * @throws Error where a client cannot go on with the server
	 */
	async connectOnTrial(server: Child): Promise<void> {
		for (const edge of [...this.#unconnected(server)].reverse()) {
			const answer = new Deferred<string | undefined>();
			const session = this.#reconnect(edge, answer);
			const problem = await answer.promise;
			this.#trials.delete(session);
			if (problem !== undefined) {
				throw new Error(`child "${edge.client.name}" cannot go on with "${server.name}": ${problem}`);
			}
		}
	}

	confirmConnected(session: number, problem: string | undefined): void {
		this.#trials.get(session)?.resolve(problem);
	}

	/** Has the client keep its requests; resolves when its server has answered all that it was sent. */
	async hold(edge: RouteEdge): Promise<void> {
		const session = this.#sessions.get(edgeKey(edge));
		const client = this.#of(edge.client);
		if (session === undefined || !client.alive) {
			return;
		}

		if (!this.#of(edge.server).alive) {
			// Nothing will be answered; nothing was done either that counts, or the client would have been told.
			this.#sessions.delete(edgeKey(edge));
			client.post({type: 'disconnect', child: edge.client.name, label: edge.route.label, lost: false});
			return;
		}

		const held = new Deferred<void>();
		this.#holdings.set(session, held);
		client.post({type: 'hold', child: edge.client.name, label: edge.route.label, session});
		await held.promise;
		this.#holdings.delete(session);
	}

	confirmHeld(session: number): void {
		this.#holdings.get(session)?.resolve();
	}

	/** Clients go on that were kept from it: with the server that they have, or with the one that waits for them. */
	resumeAll(): void {
		for (const edge of this.#edges()) {
			if (!this.#of(edge.client).alive) {
				continue;
			}

			if (this.#sessions.has(edgeKey(edge))) {
				this.release(edge);
			} else if (this.#of(edge.server).state === 'up') {
				this.#reconnect(edge);
			}
		}
	}

	/** The client goes on with the server that it has. */
	release({client, route: {label}}: RouteEdge): void {
		this.#of(client).post({type: 'release', child: client.name, label});
	}

	/** Ends a session whose client keeps its requests or has stopped; resolves when the server is done with it. */
	async close(edge: RouteEdge): Promise<void> {
		const isReset = this.#interruptions.get(edgeKey(edge)) === 'reset';
		await this.#closeSession(edge, new Set());
		if (isReset) {
			this.#interruptions.set(edgeKey(edge), 'reset');
		}
	}

	/** True while a client is connected to one of these servers. */
	isServing(servers: ReadonlySet<Child>, clients: ReadonlySet<string>): boolean {
		return [...this.#edges()].some(
			edge => servers.has(edge.server) && clients.has(edge.client.name) && this.#sessions.has(edgeKey(edge)),
		);
	}

	/** A surviving server has ended what it did for a lost client. */
	confirmClosed(session: number, by: ManagedGroup): void {
		const closing = this.#closings.get(session);
		if (closing?.server.group === by) {
			closing.confirmed.resolve();
		}
	}

	/** The group at the other end of a session; undefined where the session is over, or not one of this group's. */
	peerOf(session: number, group: ManagedGroup): ManagedGroup | undefined {
		for (const edge of this.#edges()) {
			if (this.#sessions.get(edgeKey(edge)) === session) {
				const [client, server] = [this.#of(edge.client).group, this.#of(edge.server).group];
				return client === group ? server : server === group ? client : undefined;
			}
		}

		return undefined;
	}

	/**
	 * Ends the sessions from and to lost children; the result resolves when every surviving server has confirmed.
	 * @param lost children whose state is `dead` already
	 */
	async lose(lost: ReadonlySet<Child>): Promise<void> {
		const reset = this.#graph.resetBy(lost);
		for (const {server, confirmed} of this.#closings.values()) {
			if (lost.has(server.child)) {
				confirmed.resolve();
			}
		}

		const closings: Array<Promise<void>> = [];
		for (const edge of this.#edges()) {
			if (lost.has(edge.client)) {
				closings.push(this.#closeSession(edge, lost));
			} else if (this.#of(edge.client).alive) {
				this.#interruptSession(edge, lost, reset);
			}
		}

		await Promise.all(closings);
	}

	/** Opens a session at its server, and gives what its client needs. */
	open(edge: RouteEdge): Connection {
		const {
			client,
			server,
			route: {label, service, serverLabel = client.name},
		} = edge;
		const session = ++this.#lastSession;
		this.#sessions.set(edgeKey(edge), session);
		this.#interruptions.delete(edgeKey(edge));
		if (client.group === server.group) {
			return {label, service, session, server: server.name, client: serverLabel, port: undefined};
		}

		const [forServer, forClient] = sessionEnds(this.#of(client).group, this.#of(server).group);
		this.#of(server).post(
			{type: 'serve', child: server.name, service, session, client: serverLabel, port: forServer},
			[forServer],
		);
		return {label, service, session, server: server.name, client: serverLabel, port: forClient};
	}

	/** Sessions to a server that clients wait for. */
	#unconnected(server: Child): RouteEdge[] {
		return this.#graph
			.routesTo(server)
			.filter(edge => this.#of(edge.client).alive && !this.#sessions.has(edgeKey(edge)));
	}

	/**
	 * Connects a surviving client to the replacement of its server; on trial, the client answers. Gives the session's
	 * number.
	 */
	#reconnect(edge: RouteEdge, answer?: Deferred<string | undefined>): number {
		const how = this.#interruptions.get(edgeKey(edge)) ?? 'restarted';
		const {label, port, session, server} = this.open(edge);
		if (answer) {
			this.#trials.set(session, answer);
		}

		this.#of(edge.client).post(
			{
				type: 'connect',
				child: edge.client.name,
				label,
				session,
				server,
				port: port!,
				how,
				onTrial: answer !== undefined,
			},
			[port!],
		);
		if (how === 'reset') {
			this.#passResetOn(edge.client);
		}

		return session;
	}

	/** Tells those behind a survivor that state went back. */
	#passResetOn(survivor: Child): void {
		for (const edge of this.#graph.routesTo(survivor)) {
			if (this.#interruptions.get(edgeKey(edge)) === 'reset' && this.#sessions.has(edgeKey(edge))) {
				this.#interruptions.delete(edgeKey(edge));
				this.#of(edge.client).post({
					type: 'interrupt',
					child: edge.client.name,
					label: edge.route.label,
					how: 'reset',
				});
				this.#passResetOn(edge.client);
			}
		}
	}

	*#edges(): Iterable<RouteEdge> {
		for (const child of this.#graph.children) {
			yield* this.#graph.routesFrom(child);
		}
	}

	/** The client of a session was lost: its server, if it survived, ends what it still does for it. */
	async #closeSession(edge: RouteEdge, lost: ReadonlySet<Child>): Promise<void> {
		const session = this.#sessions.get(edgeKey(edge));
		this.#sessions.delete(edgeKey(edge));
		this.#interruptions.delete(edgeKey(edge));
		const server = this.#of(edge.server);
		if (session === undefined || lost.has(edge.server) || !server.alive) {
			return;
		}

		const closing = {server, confirmed: new Deferred<void>()};
		this.#closings.set(session, closing);
		server.post({type: 'close', child: edge.server.name, session});
		const {thread} = server.group;
		const limit = globalThis.setTimeout(() => {
			thread?.kill(
				`still worked for the dead client "${edge.client.name}" after ${closeTimeLimitMs / 1000} s`,
				edge.server.name,
			);
		}, closeTimeLimitMs);
		await closing.confirmed.promise;
		clearTimeout(limit);
		this.#closings.delete(session);
	}

	/** The client of a session survived: its server was lost, or something behind its server. */
	#interruptSession(edge: RouteEdge, lost: ReadonlySet<Child>, reset: ReadonlySet<Child>): void {
		const isReset = reset.has(edge.server) || this.#interruptions.get(edgeKey(edge)) === 'reset';
		if (lost.has(edge.server)) {
			this.#sessions.delete(edgeKey(edge));
			this.#interruptions.set(edgeKey(edge), isReset ? 'reset' : 'restarted');
			this.#of(edge.client).post({
				type: 'disconnect',
				child: edge.client.name,
				label: edge.route.label,
				lost: isReset,
			});
		} else if (isReset) {
			this.#interruptions.set(edgeKey(edge), 'reset');
		}
	}

	/** Nothing comes back any more: whoever waits for a server that is gone gets `session_lost`. */
	abandonUnconnected(): void {
		for (const edge of this.#edges()) {
			const client = this.#of(edge.client);
			if (client.alive && !this.#sessions.has(edgeKey(edge))) {
				client.post({type: 'disconnect', child: edge.client.name, label: edge.route.label, lost: true});
			}
		}
	}
}
