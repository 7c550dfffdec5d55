/** One component in a host: its sessions in both directions, and its life from start to stop. */
import {getHeapStatistics} from 'node:v8';
import {
	StartError,
	type Component,
	type Environment,
	type Provisions,
	type Requirement,
	type Running,
} from '../sdk/component.js';
import type {Client, Handlers, Session} from '../sdk/session.js';
import {ClientEnd} from '../transport/client-end.js';
import type {LeasePool} from '../transport/lease-pool.js';
import {connectLocal} from '../transport/local.js';
import type {SessionHandle} from '../transport/session-port.js';
import {ServerEnd} from '../transport/server-end.js';
import {describeError} from './describe-error.js';
import type {DirectoryClaims} from './directory-claims.js';
import type {ChildFigures, Connection, HostedChild, Interruption} from './messages.js';

type Sessions = Record<string, Client<Session> | undefined>;

export interface HostedComponentOptions {
	readonly child: HostedChild;
	readonly component: Component;
	readonly env: Environment;
	readonly claims: DirectoryClaims;
	readonly pool: LeasePool;
	/** Another component of the same thread. */
	neighbour(name: string): HostedComponent;
	die(reason: string): never;
	reportBadReply(server: string, reason: string): void;
	reportBroken(session: number, reason: string, isEnd: boolean): void;
}

function sessionOf(requirement: Requirement): Session {
	return 'optional' in requirement ? requirement.session : requirement;
}

export class HostedComponent {
	readonly name: string;
	readonly #options: HostedComponentOptions;
	readonly #clientEnds = new Map<string, ClientEnd>();
	readonly #serverEnds = new Map<number, {service: string; end: ServerEnd}>();
	/** What happened to required sessions before `start` was through. */
	readonly #earlyInterruptions: Array<{label: string; how: Interruption}> = [];
	#running: Running<Provisions> | undefined;
	#localSessionCount = 0;
	#requests = 0;
	#bytes = 0;

	constructor(options: HostedComponentOptions) {
		this.name = options.child.name;
		this.#options = options;
	}

	/** @throws StartError or whatever the component throws */
	async start(connections: readonly Connection[]): Promise<readonly string[]> {
		const {component, env, claims} = this.#options;
		if (!component.start) {
			throw new StartError('it is a tool: start it with "runtime run"');
		}

		let running;
		try {
			running = await component.start({config: this.#config(), sessions: this.#connect(connections), env});
		} catch (error) {
			claims.releaseAll();
			throw error;
		}

		this.#running = running;
		for (const {label, how} of this.#earlyInterruptions.splice(0)) {
			this.interrupt(label, how).catch((error: unknown) => this.failWith(error));
		}

		return running.hints?.() ?? [];
	}

	async run(connections: readonly Connection[]): Promise<{exitValue: number; message?: string}> {
		const {component, env} = this.#options;
		return component.run!({config: this.#config(), sessions: this.#connect(connections), env});
	}

	get isWokenBySessionsOnly(): boolean {
		return this.#options.component.wokenBySessionsOnly;
	}

	get isTool(): boolean {
		return this.#options.component.kind === 'tool';
	}

	serve(service: string, session: number, client: string, port: SessionHandle): void {
		const end = new ServerEnd(port, {
			session: this.#provided(service),
			handlers: this.#handlers(service),
			context: {session, client},
			onBug: error => {
				this.failWith(error);
			},
			count: byteLength => {
				this.#count(byteLength);
			},
			onBroken: (reason, isEnd) => {
				this.#options.reportBroken(session, reason, isEnd);
			},
		});
		this.#serverEnds.set(session, {service, end});
	}

	/** A client of another component on this thread, or of the runtime itself. */
	serveLocally(service: string, session: number, client: string): Client<Session> {
		return connectLocal(this.#provided(service), this.#handlers(service), {
			context: {session, client},
			onBug: error => {
				this.failWith(error);
			},
			count: byteLength => {
				this.#count(byteLength);
			},
		});
	}

	async close(session: number): Promise<void> {
		const served = this.#serverEnds.get(session);
		if (served) {
			this.#serverEnds.delete(session);
			await served.end.close();
			this.#running?.clientGone?.(served.service, session);
		}
	}

	disconnect(label: string, lost: boolean): void {
		this.#clientEnds.get(label)?.disconnect(lost);
	}

	async hold(label: string): Promise<void> {
		await this.#clientEnds.get(label)?.hold();
	}

	release(label: string): void {
		this.#clientEnds.get(label)?.release();
	}

	/** Resolves when the component has done what it has to do with a new server. @throws what it throws then */
	async connect(
		label: string,
		session: number,
		server: string,
		port: SessionHandle,
		how: Interruption,
	): Promise<void> {
		this.#clientEnds.get(label)?.connect(port, {server, onBroken: this.#brokenReport(session)});
		await this.interrupt(label, how);
	}

	async interrupt(label: string, how: Interruption): Promise<void> {
		if (this.#running) {
			await this.#running.interrupted?.[label]?.(how);
		} else {
			this.#earlyInterruptions.push({label, how});
		}
	}

	/** Ends this thread because of a fault of the component. */
	failWith(error: unknown): never {
		this.#options.die(describeError(error));
	}

	async stop(): Promise<void> {
		try {
			await this.#running?.stop?.();
		} finally {
			this.#options.claims.releaseAll();
		}
	}

	figures(): ChildFigures {
		const fromOutside = this.#running?.served?.();
		const heap = getHeapStatistics();
		return {
			sessions: this.#serverEnds.size + this.#localSessionCount,
			requests: this.#requests + (fromOutside?.requests ?? 0),
			bytes: this.#bytes + (fromOutside?.bytes ?? 0),
			leasedBytes: this.#options.pool.usedBytes,
			arenaBytes: this.#options.pool.arenaBytes,
			heapBytes: heap.total_heap_size,
			externalBytes: heap.external_memory,
			details: this.#running?.status?.() ?? {},
		};
	}

	#config(): unknown {
		const parsed = this.#options.component.config.safeParse(this.#options.child.config);
		if (!parsed.success) {
			throw new StartError(
				`its <config> is wrong: ${parsed.error.issues.map(issue => `${issue.path.join('.')} ${issue.message}`).join('; ')}`,
			);
		}

		return parsed.data;
	}

	#connect(connections: readonly Connection[]): Sessions {
		const sessions: Sessions = {};
		for (const connection of connections) {
			sessions[connection.label] = connection.port
				? this.#connectOther(connection, connection.port)
				: this.#options.neighbour(connection.server).#serveNeighbour(connection);
		}

		return sessions;
	}

	#brokenReport(session: number): (reason: string, isEnd: boolean) => void {
		return (reason, isEnd) => {
			this.#options.reportBroken(session, reason, isEnd);
		};
	}

	#connectOther({label, server, session}: Connection, port: SessionHandle): Client<Session> {
		const end = new ClientEnd({
			session: sessionOf(this.#options.component.requires[label]),
			server,
			onBadReply: (reason, present) => {
				this.#options.reportBadReply(present, reason);
			},
		});
		this.#clientEnds.set(label, end);
		end.connect(port, {onBroken: this.#brokenReport(session)});
		return end.client();
	}

	#serveNeighbour({service, session, client}: Connection): Client<Session> {
		this.#localSessionCount++;
		return this.serveLocally(service, session, client);
	}

	#provided(service: string): Session {
		const session = Object.values(this.#options.component.provides).find(({name}) => name === service);
		if (!session) {
			throw new Error(`"${this.name}" does not provide the service ${service}`);
		}

		return session;
	}

	#handlers(service: string): Handlers<Session> {
		const key = Object.entries(this.#options.component.provides).find(([, {name}]) => name === service)![0];
		if (!this.#running) {
			throw new Error(`"${this.name}" serves only once it has been started`);
		}

		return this.#running.provides[key];
	}

	#count(byteLength: number): void {
		this.#requests++;
		this.#bytes += byteLength;
	}
}
