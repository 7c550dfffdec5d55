/**
 * The sessions between children: opens them, closes those of lost clients, reconnects those of survivors, and knows which
 * survivor has yet to be told what.
 */
import {MessageChannel} from 'node:worker_threads';
import type {Child} from '../deployment/model.js';
import type {Connection, Interruption} from '../host/messages.js';
import type {ChildGraph, RouteEdge} from './child-graph.js';
import {Deferred} from './deferred.js';
import type {ManagedChild} from './managed-child.js';

/** Time for a surviving server to end what it still does for a dead client. */
const closeTimeLimitMs = 15_000;

interface Closing {
	readonly server: ManagedChild;
	readonly confirmed: Deferred<void>;
}

export class SessionWiring {
	readonly #graph: ChildGraph;
	readonly #of: (child: Child) => ManagedChild;
	/** Sessions that are connected, by route, with their numbers. */
	readonly #sessions = new Map<RouteEdge, number>();
	/** What surviving clients have yet to be told about their sessions. */
	readonly #interruptions = new Map<RouteEdge, Interruption>();
	readonly #closings = new Map<number, Closing>();
	#lastSession = 0;

	constructor(graph: ChildGraph, of: (child: Child) => ManagedChild) {
		this.#graph = graph;
		this.#of = of;
	}

	/** Connects surviving clients to a server that is up again. */
	reconnectClients(server: Child): void {
		for (const edge of this.#graph.routesTo(server)) {
			if (this.#of(edge.client).alive && !this.#sessions.has(edge)) {
				this.#reconnect(edge);
			}
		}
	}

	/** A surviving server has ended what it did for a lost client. */
	confirmClosed(session: number): void {
		this.#closings.get(session)?.confirmed.resolve();
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
		const {client, server, route: {label, service}} = edge;
		const session = ++this.#lastSession;
		this.#sessions.set(edge, session);
		this.#interruptions.delete(edge);
		if (client.group === server.group) {
			return {label, service, session, server: server.name, port: undefined};
		}

		const {port1, port2} = new MessageChannel();
		this.#of(server).post({type: 'serve', child: server.name, service, session, client: client.name, port: port1}, [port1]);
		return {label, service, session, server: server.name, port: port2};
	}

	/** Connects a surviving client to the replacement of its server. */
	#reconnect(edge: RouteEdge): void {
		const how = this.#interruptions.get(edge) ?? 'restarted';
		const {label, port} = this.open(edge);
		this.#of(edge.client).post({type: 'connect', child: edge.client.name, label, port: port!, how}, [port!]);
		if (how === 'reset') {
			this.#passResetOn(edge.client);
		}
	}

	/** Tells those behind a survivor that state went back. */
	#passResetOn(survivor: Child): void {
		for (const edge of this.#graph.routesTo(survivor)) {
			if (this.#interruptions.get(edge) === 'reset' && this.#sessions.has(edge)) {
				this.#interruptions.delete(edge);
				this.#of(edge.client).post({type: 'interrupt', child: edge.client.name, label: edge.route.label, how: 'reset'});
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
		const session = this.#sessions.get(edge);
		this.#sessions.delete(edge);
		this.#interruptions.delete(edge);
		const server = this.#of(edge.server);
		if (session === undefined || lost.has(edge.server) || !server.alive) {
			return;
		}

		const closing = {server, confirmed: new Deferred<void>()};
		this.#closings.set(session, closing);
		server.post({type: 'close', child: edge.server.name, session});
		const {thread} = server.group;
		const limit = globalThis.setTimeout(() => {
			thread?.kill(`still worked for the dead client "${edge.client.name}" after ${closeTimeLimitMs / 1000} s`, edge.server.name);
		}, closeTimeLimitMs);
		await closing.confirmed.promise;
		clearTimeout(limit);
		this.#closings.delete(session);
	}

	/** The client of a session survived: its server was lost, or something behind its server. */
	#interruptSession(edge: RouteEdge, lost: ReadonlySet<Child>, reset: ReadonlySet<Child>): void {
		const isReset = reset.has(edge.server) || this.#interruptions.get(edge) === 'reset';
		if (lost.has(edge.server)) {
			this.#sessions.delete(edge);
			this.#interruptions.set(edge, isReset ? 'reset' : 'restarted');
			this.#of(edge.client).post({type: 'disconnect', child: edge.client.name, label: edge.route.label, lost: isReset});
		} else if (isReset) {
			this.#interruptions.set(edge, 'reset');
		}
	}

	/** Nothing comes back any more: whoever waits for a server that is gone gets `session_lost`. */
	abandonUnconnected(): void {
		for (const edge of this.#edges()) {
			const client = this.#of(edge.client);
			if (client.alive && !this.#sessions.has(edge)) {
				client.post({type: 'disconnect', child: edge.client.name, label: edge.route.label, lost: true});
			}
		}
	}
}
