/**
 * Components wired on one thread, as deploy.xml would wire them, for contract tests and the simulator. Clock,
 * randomness and the order of steps can be taken over; single components can be made to die and come back.
 */
import {availableParallelism, tmpdir} from 'node:os';
import {watchLockOrder} from '../../components/lib/sync/lock-order.js';
import {DirectoryClaims} from '../../runtime/host/directory-claims.js';
import {makeEnvironment} from '../../runtime/host/host-environment.js';
import type {Component, Environment, LogLevel, Provisions, Requirement, Running} from '../../runtime/sdk/component.js';
import {environmentServices} from '../../runtime/sdk/environment-service.js';
import {SessionError, type Client, type Handlers, type Session} from '../../runtime/sdk/session.js';
import {LeasePool} from '../../runtime/transport/lease-pool.js';
import {connectLocal} from '../../runtime/transport/local.js';

export interface AssemblyChild {
	readonly name: string;
	readonly component: Component;
	/** As deploy.xml would give it; the component's schema is applied. */
	readonly config?: unknown;
	/** Names of the serving children by the label of the required session. */
	readonly routes?: Readonly<Record<string, string>>;
}

export interface AssemblyOptions {
	readonly stateDirectory?: string;
	/** Bytes of payload memory for each component. */
	readonly leaseLimit?: number;
	/** Replaces parts of a component's environment: the clock, randomness, sleep. */
	environment?(name: string, base: Environment): Environment;
	/** A step between caller and handler, and between reply and caller. */
	step?(): Promise<void>;
}

export interface AssemblyLogLine {
	readonly child: string;
	readonly level: LogLevel;
	readonly text: string;
}

type Messages = Record<string, (request: unknown) => Promise<unknown>>;

/** What a thread that is gone would do: nothing, for ever. */
const silence = new Promise<never>(() => undefined);

/** One life of a component. */
class Instance {
	running: Running<Provisions> | undefined;
	isAlive = true;
	/** What it has taken of the host. */
	readonly claims = new DirectoryClaims({log: () => undefined});
	/** Rejects when this life ends. */
	readonly death: Promise<never>;
	#die!: (error: Error) => void;

	constructor() {
		this.death = new Promise((_resolve, reject) => {
			this.#die = reject;
		});
		this.death.catch(() => undefined);
	}

	kill(): void {
		this.isAlive = false;
		this.claims.releaseAll();
		this.#die(new Error('the component died'));
	}
}

class Member {
	readonly sketch: AssemblyChild;
	readonly pool: LeasePool;
	instance = new Instance();
	/** Resolves when the component is up, or up again after `kill`; undefined where nobody will bring it back. */
	back: Promise<void> | undefined;
	comeBack: () => void = () => undefined;

	constructor(sketch: AssemblyChild, pool: LeasePool) {
		this.sketch = sketch;
		this.pool = pool;
	}
}

function sessionOf(requirement: Requirement): Session {
	return 'optional' in requirement ? requirement.session : requirement;
}

export class Assembly {
	readonly log: AssemblyLogLine[] = [];
	/** What components threw that was no error of their contract; each killed its component. */
	readonly bugs: Array<{readonly child: string; readonly error: unknown}> = [];
	readonly #options: AssemblyOptions;
	readonly #members = new Map<string, Member>();
	#lastSession = 0;

	/** @param children servers before their clients */
	constructor(children: readonly AssemblyChild[], options: AssemblyOptions) {
		this.#options = options;
		for (const child of children) {
			this.#members.set(child.name, new Member(child, new LeasePool(options.leaseLimit ?? 96 * 2 ** 20)));
		}
	}

	async start(): Promise<void> {
		for (const member of this.#members.values()) {
			await this.#startMember(member);
		}
	}

	/** A client of a child from outside; it survives restarts as a stateless component would. */
	client<S extends Session>(name: string, session: S): Client<S> {
		return this.#connect(session, this.#member(name), undefined, 'test') as unknown as Client<S>;
	}

	running(name: string): Running<Provisions> {
		return this.#member(name).instance.running!;
	}

	/** Bytes of payload memory that a child leases now. */
	leasedBytes(name: string): number {
		return this.#member(name).pool.usedBytes;
	}

	/**
	 * Ends a child as a fault would: what it asked for is never answered, its clients' requests fail or wait for
	 * `restart`.
	 */
	kill(name: string): void {
		const member = this.#member(name);
		member.back = new Promise(resolve => {
			member.comeBack = resolve;
		});
		member.instance.kill();
	}

	/** Brings a child back after its death (which is made now if need be), with everything that relied on its state. */
	async restart(name: string): Promise<void> {
		const lost = this.#lostWith(this.#member(name));
		for (const member of lost) {
			if (member.instance.isAlive || !member.back) {
				this.kill(member.sketch.name);
			}

			for (const serverName of Object.values(member.sketch.routes ?? {})) {
				const server = this.#member(serverName);
				if (!lost.has(server)) {
					this.#tellGone(server, member);
				}
			}
		}

		for (const member of this.#members.values()) {
			if (lost.has(member)) {
				await this.#startMember(member);
			}
		}

		await this.#interruptSurvivors(lost);
	}

	/** Stops all children that live, clients before servers. */
	async stop(): Promise<void> {
		for (const {instance} of [...this.#members.values()].reverse()) {
			if (instance.isAlive) {
				await instance.running?.stop?.();
				instance.claims.releaseAll();
			}
		}
	}

	#member(name: string): Member {
		const member = this.#members.get(name);
		if (!member) {
			throw new Error(`the assembly has no child "${name}"`);
		}

		return member;
	}

	async #startMember(member: Member): Promise<void> {
		const {name, component, config = {}, routes = {}} = member.sketch;
		const instance = new Instance();
		member.instance = instance;
		const sessions: Record<string, Client<Session> | undefined> = {};
		for (const [label, server] of Object.entries(routes)) {
			const client = this.#connect(sessionOf(component.requires[label]), this.#member(server), instance, name);
			sessions[label] = client;
		}

		if (!component.start) {
			throw new Error(`"${name}" is a tool`);
		}

		instance.running = await component.start({
			config: component.config.parse(config),
			sessions,
			env: this.#environment(member),
		});
		member.comeBack();
		member.back = undefined;
	}

	#environment({sketch: {name}, pool, instance}: Member): Environment {
		const leaseLimit = pool.limit;
		const clientCounts: Record<string, number> = {};
		for (const {
			sketch: {component, routes = {}},
		} of this.#members.values()) {
			for (const [label, server] of Object.entries(routes)) {
				if (server === name) {
					const service = sessionOf(component.requires[label]).name;
					clientCounts[service] = (clientCounts[service] ?? 0) + 1;
				}
			}
		}

		const child = {
			name,
			leaseLimit,
			clientCounts,
			modulePath: '',
			config: {},
			cpuCount: availableParallelism(),
			environment: environmentServices,
		};
		const base = makeEnvironment(child, this.#options.stateDirectory ?? tmpdir(), pool, {
			log: (text, level) => {
				this.log.push({child: name, level, text});
			},
			claimDirectory: async path => instance.claims.claim(path),
			secret: () => undefined,
			fail(reason) {
				throw new Error(reason);
			},
		});
		return this.#options.environment?.(name, base) ?? base;
	}

	/** Sessions that servers have been told of. */
	readonly #served: Array<{server: Instance; client: string; session: number; service: string}> = [];

	/** Sessions outlive the server's instance; each instance sees a session of its own. */
	#connect(session: Session, server: Member, caller: Instance | undefined, clientName: string): Messages {
		let connected: {instance: Instance; client: Messages; session: number} | undefined;
		const present = (): Messages => {
			if (connected?.instance !== server.instance) {
				connected = this.#serve(session, server, clientName);
			}

			return connected.client;
		};
		return Object.fromEntries(
			session.opNames.map(opName => [
				opName,
				async (request: unknown) => this.#call(server, caller, async () => present()[opName](request)),
			]),
		);
	}

	#serve(session: Session, server: Member, client: string) {
		const {
			instance,
			sketch: {name, component},
		} = server;
		const key = Object.entries(component.provides).find(([, provided]) => provided.name === session.name)?.[0];
		if (!key || !instance.running) {
			throw new Error(`"${name}" does not serve ${session.name}`);
		}

		const number = ++this.#lastSession;
		const served = connectLocal(session, instance.running.provides[key] as Handlers<Session>, {
			context: {session: number, client},
			step: this.#options.step,
			onBug: error => {
				this.bugs.push({child: name, error});
				instance.kill();
			},
		});
		this.#served.push({server: instance, client, session: number, service: session.name});
		return {instance, client: served as unknown as Messages, session: number};
	}

	async #call(server: Member, caller: Instance | undefined, send: () => Promise<unknown>): Promise<unknown> {
		for (;;) {
			if (caller && !caller.isAlive) {
				return silence;
			}

			const {instance} = server;
			if (!instance.isAlive || !instance.running) {
				await this.#afterDeath(server, false);
				continue;
			}

			try {
				const reply = await Promise.race([send(), instance.death]);
				return caller && !caller.isAlive ? await silence : reply;
			} catch (error) {
				if (caller && !caller.isAlive) {
					return silence;
				}

				if (instance.isAlive) {
					throw error;
				}

				await this.#afterDeath(server, true);
			}
		}
	}

	/**
	 * Waits for a stateless server's return. @throws SessionError `session_lost` for a stateful one, or one that stays
	 * away
	 */
	async #afterDeath(server: Member, wasCalled: boolean): Promise<void> {
		if ((server.sketch.component.stateful && wasCalled) || !server.back) {
			throw new SessionError('session_lost', `the session to "${server.sketch.name}" was lost`);
		}

		await server.back;
	}

	#tellGone(server: Member, client: Member): void {
		for (const served of this.#served) {
			if (served.server === server.instance && served.client === client.sketch.name) {
				server.instance.running?.clientGone?.(served.service, served.session);
			}
		}
	}

	#clientsOf(server: Member): Array<{client: Member; label: string}> {
		return [...this.#members.values()].flatMap(client =>
			Object.entries(client.sketch.routes ?? {})
				.filter(([, name]) => name === server.sketch.name)
				.map(([label]) => ({client, label})),
		);
	}

	#dependents(server: Member): Set<Member> {
		const found = new Set<Member>();
		for (const {client} of this.#clientsOf(server)) {
			found.add(client);
			for (const dependent of this.#dependents(client)) {
				found.add(dependent);
			}
		}

		return found;
	}

	#lostWith(member: Member): Set<Member> {
		const lost = new Set([member]);
		if (member.sketch.component.stateful) {
			for (const dependent of this.#dependents(member)) {
				if (dependent.sketch.component.stateful) {
					lost.add(dependent);
				}
			}
		}

		return lost;
	}

	async #interruptSurvivors(lost: ReadonlySet<Member>): Promise<void> {
		const reset = new Set(
			[...lost]
				.filter(({sketch}) => sketch.component.stateful)
				.flatMap(member => [member, ...this.#dependents(member)]),
		);
		for (const server of this.#members.values()) {
			for (const {client, label} of this.#clientsOf(server)) {
				if (!lost.has(client) && (lost.has(server) || reset.has(server))) {
					await client.instance.running?.interrupted?.[label]?.(reset.has(server) ? 'reset' : 'restarted');
				}
			}
		}
	}
}

/** @param children servers before their clients */
export async function startAssembly(
	children: readonly AssemblyChild[],
	options: AssemblyOptions = {},
): Promise<Assembly> {
	watchLockOrder();
	const assembly = new Assembly(children, options);
	await assembly.start();
	return assembly;
}
