/**
 * An edit of the deployment, applied while everything runs.
 *
 * Clients that go on keep their requests from the moment on at which they would reach what is to be replaced, and what
 * they have sent is answered first: no request is done twice, none is dropped. What is replaced is stopped in order, so
 * that everything acknowledged is secured. Where a new child cannot start, what ran before is started again.
 */
import {setTimeout} from 'node:timers/promises';
import type {ChangePlan} from './change-plan.js';
import type {RouteEdge} from './child-graph.js';
import {Deferred} from './deferred.js';
import type {ManagedChild, ManagedGroup} from './managed-child.js';
import {ChildTable} from './child-table.js';
import type {SessionWiring} from './session-wiring.js';
import type {Child} from '../deployment/checked-deployment.js';

/** Time for a client's server to answer what it was sent. */
const restTimeLimitMs = 20_000;
/** Time for a child to start; a passphrase may have to be derived in it. */
const startTimeLimitMs = 60_000;

/** The edit was not applied. What ran before runs. */
export class ChangeError extends Error {
	override readonly name = 'ChangeError';
}

/** The change broke off half way: what it touched has to be restarted as after a fault. */
export class BrokenChangeError extends Error {
	override readonly name = 'BrokenChangeError';
}

/** A child died while a change was applied. */
class DeathError extends Error {
	override readonly name = 'DeathError';
}

/** What the supervision does for a change. */
export interface ChangeHost {
	readonly wiring: SessionWiring;
	/** Starts a thread for children of this table. */
	spawn(group: ManagedGroup, table: ChildTable): void;
	/** Starts a child whose servers are up, and connects nobody to it. @throws Error where it does not start */
	bringUp(managed: ManagedChild): Promise<void>;
	/** Stops a child in order; resolves with what went wrong, if anything. */
	stopChild(managed: ManagedChild): Promise<string | undefined>;
	/** From now on messages, deaths and routes are those of this table. */
	install(table: ChildTable): void;
}

/**
 * True for a child that keeps nothing to itself, so that two of them can serve at the same time: it starts while nobody
 * waits.
 */
function canServeBeside({component: {kind, stateful, provides, requires}}: Child): boolean {
	const sessions = Object.values(provides);
	return (
		kind === 'service' &&
		!stateful &&
		Object.keys(requires).length === 0 &&
		sessions.length > 0 &&
		sessions.every(({interchangeable}) => interchangeable)
	);
}

export class LiveChange {
	readonly #host: ChangeHost;
	readonly #plan: ChangePlan;
	readonly #from: ChildTable;
	readonly #to: ChildTable;
	readonly #kept: ReadonlyMap<string, ManagedChild>;
	readonly #moved: ReadonlySet<string>;
	/** What a failed change goes back to. */
	#back: ChildTable | undefined;
	/** Rejects when a child died. */
	#death = new Deferred<never>();
	/** Something died that the change did not start: going back in order is no way out. */
	#survivorDied = false;
	/** Something died that the change did start. */
	#newcomerDied = false;
	#pauseStartMs: number | undefined;
	#hasStopped = false;
	/** From the first request that was kept to the last client that was connected again, in milliseconds. */
	pauseMs = 0;

	constructor(host: ChangeHost, plan: ChangePlan, from: ChildTable, children: readonly Child[]) {
		this.#host = host;
		this.#plan = plan;
		this.#from = from;
		this.#kept = new Map(
			[...from.children]
				.filter(({child}) => plan.kept.has(child.name))
				.map(managed => [managed.child.name, managed]),
		);
		this.#moved = new Set(plan.moved.map(({child, label}) => `${child} ${label}`));
		this.#to = new ChildTable(children, this.#kept);
		for (const managed of this.#to.children) {
			managed.restartCount = from.named(managed.child.name)?.restartCount ?? 0;
			managed.requestedRestartCount = from.named(managed.child.name)?.requestedRestartCount ?? 0;
		}
	}

	/** The deployment that ran before, with what the change has stopped as children that are yet to be started. */
	get before(): ChildTable {
		return this.#hasStopped ? new ChildTable(this.#from.graph.children, this.#kept) : this.#from;
	}

	/** What the change has stopped, or may have. */
	get touched(): readonly string[] {
		return this.#hasStopped ? this.#from.names.filter(name => !this.#kept.has(name)) : [];
	}

	/** @throws ChangeError where what ran before runs again, BrokenChangeError where it does not */
	async run(): Promise<void> {
		try {
			await this.#prepare(this.#to);
		} catch (error) {
			await this.#discard(this.#to);
			throw this.#survivorDied
				? new BrokenChangeError((error as Error).message)
				: new ChangeError((error as Error).message);
		}

		try {
			await this.#rest(this.#from);
		} catch (error) {
			await this.#discard(this.#to);
			throw this.#hasStopped || this.#survivorDied
				? new BrokenChangeError((error as Error).message)
				: this.#releaseAll(error as Error);
		}

		try {
			this.#host.install(this.#to);
			this.#host.wiring.adopt(this.#to.graph, this.#plan.reset);
			await this.#start(this.#to);
		} catch (error) {
			await this.#rollBack(error as Error);
			throw new ChangeError((error as Error).message);
		}

		this.#endPause();
	}

	/** A thread of the change, or beside it, is no more. */
	noteDeath(group: ManagedGroup, child: string, reason: string): void {
		if (group.onTrial) {
			this.#newcomerDied = true;
			group.thread = undefined;
			group.ready.reject(new Error(reason));
			for (const managed of group.children) {
				managed.lose(reason);
			}
		} else {
			this.#survivorDied = true;
		}

		this.#death.reject(new DeathError(`child "${child}" died: ${reason}`));
	}

	/** When it broke off: ends what the change has started, and what it has not come to stop. */
	async abandon(): Promise<void> {
		for (const table of [this.#to, this.#back, this.#hasStopped ? this.#from : undefined]) {
			if (table) {
				await this.#discard(table);
			}
		}
	}

	/** New threads have loaded everything before anybody has to wait for them. */
	async #prepare(table: ChildTable): Promise<void> {
		const groups = this.#newGroups(table);
		for (const group of groups) {
			group.onTrial = true;
			this.#host.spawn(group, table);
		}

		for (const {ready, name} of groups) {
			await this.#step(ready.promise, startTimeLimitMs, `the thread of "${name}" did not come up`);
		}

		for (const child of table.graph.children) {
			if (!this.#kept.has(child.name) && canServeBeside(child)) {
				await this.#bringUp(table.of(child));
			}
		}
	}

	#newGroups({children}: ChildTable): Set<ManagedGroup> {
		return new Set([...children].filter(({child}) => !this.#kept.has(child.name)).map(({group}) => group));
	}

	async #discard(table: ChildTable): Promise<void> {
		for (const group of this.#newGroups(table)) {
			group.dismiss();
			await group.ended.promise;
		}
	}

	/**
	 * From clients to servers: has those that go on keep their requests, and stops the others. A child that has not
	 * come up served nobody; one whose servers may be dead cannot stop in order. Both just end with their thread.
	 */
	async #rest(table: ChildTable): Promise<void> {
		for (const child of [...table.graph.children].reverse()) {
			const managed = table.of(child);
			if (this.#kept.has(child.name)) {
				const edges = this.#movedEdges(table, child);
				if (edges.length > 0) {
					this.#pauseStartMs ??= performance.now();
					await this.#step(
						Promise.all(edges.map(async edge => this.#host.wiring.hold(edge))),
						restTimeLimitMs,
						`requests of "${child.name}" were not answered`,
					);
				}
			} else if (managed.state === 'up' && !this.#newcomerDied) {
				await this.#stop(managed);
			}
		}

		await this.#closeSessions(table);
		await this.#discard(table);
	}

	async #stop(managed: ManagedChild): Promise<void> {
		this.#pauseStartMs ??= performance.now();
		this.#hasStopped = true;
		const problem = await this.#step(this.#host.stopChild(managed), undefined, '');
		if (problem !== undefined) {
			throw new Error(`child "${managed.child.name}" did not stop cleanly: ${problem}`);
		}
	}

	/** Servers that go on are done with clients that stopped or lead elsewhere. */
	async #closeSessions(table: ChildTable): Promise<void> {
		const edges = table.graph.children.flatMap(child =>
			this.#kept.has(child.name) ? this.#movedEdges(table, child) : table.graph.routesFrom(child),
		);
		await this.#step(
			Promise.all(edges.map(async edge => this.#host.wiring.close(edge))),
			restTimeLimitMs,
			'sessions did not end',
		);
	}

	#movedEdges(table: ChildTable, client: Child): RouteEdge[] {
		return table.graph.routesFrom(client).filter(({route: {label}}) => this.#moved.has(`${client.name} ${label}`));
	}

	/** From servers to clients: starts what is new, and connects those that went on. */
	async #start(table: ChildTable): Promise<void> {
		for (const child of table.graph.children) {
			const managed = table.of(child);
			if (managed.state === 'waiting') {
				await this.#bringUp(managed);
			}

			await this.#step(
				this.#host.wiring.connectOnTrial(child),
				startTimeLimitMs,
				`clients could not be connected to "${child.name}"`,
			);
		}

		for (const group of this.#newGroups(table)) {
			group.onTrial = false;
		}
	}

	async #bringUp(managed: ManagedChild): Promise<void> {
		const {name} = managed.child;
		try {
			await this.#step(this.#host.bringUp(managed), startTimeLimitMs, 'it took too long');
		} catch (error) {
			throw error instanceof DeathError
				? error
				: new Error(`child "${name}" failed to start: ${(error as Error).message}`, {cause: error});
		}

		if (managed.state !== 'up' && managed.state !== 'finished') {
			throw new Error(`child "${name}" did not start`);
		}
	}

	/** Starts again what ran before. */
	async #rollBack(reason: Error): Promise<void> {
		for (const group of this.#newGroups(this.#to)) {
			// It served nobody, and what it still does is no fault of anybody.
			if (!group.children.some(({state}) => state === 'up')) {
				group.dismiss();
			}
		}

		const newState = new Set(
			this.#to.graph.children.filter(({name, component}) => component.stateful && !this.#kept.has(name)),
		);
		const hasServed = this.#host.wiring.isServing(newState, new Set(this.#kept.keys()));
		if (this.#survivorDied || (this.#newcomerDied && hasServed)) {
			throw new BrokenChangeError(reason.message);
		}

		try {
			this.#death = new Deferred();
			this.#back = new ChildTable(this.#from.graph.children, this.#kept);
			await this.#prepare(this.#back);
			await this.#rest(this.#to);
			this.#host.install(this.#back);
			this.#host.wiring.retract(this.#back.graph, this.#plan.reset);
			await this.#start(this.#back);
		} catch (error) {
			throw new BrokenChangeError(`${reason.message}; and back: ${(error as Error).message}`);
		}
	}

	#releaseAll(reason: Error): ChangeError {
		for (const child of this.#from.graph.children) {
			for (const edge of this.#kept.has(child.name) ? this.#movedEdges(this.#from, child) : []) {
				this.#host.wiring.release(edge);
			}
		}

		return new ChangeError(reason.message);
	}

	#endPause(): void {
		if (this.#pauseStartMs !== undefined && this.#plan.moved.length > 0) {
			this.pauseMs = performance.now() - this.#pauseStartMs;
		}
	}

	/** @throws Error where a child dies or time is over before the work is done */
	async #step<T>(work: Promise<T>, limitMs: number | undefined, problem: string): Promise<T> {
		const over = new AbortController();
		const limit =
			limitMs === undefined
				? []
				: [
						setTimeout(limitMs, undefined, {signal: over.signal}).then(() => {
							throw new Error(`${problem} within ${limitMs / 1000} s`);
						}),
					];
		try {
			return await Promise.race([work, this.#death.promise, ...limit]);
		} finally {
			over.abort();
		}
	}
}
