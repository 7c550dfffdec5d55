/**
 * What an edit of the deployment means for what runs: which children go on, which start over, and whose sessions move.
 *
 * A child starts over where its thread would be another one, and where state that it relies on starts over. All others
 * go on; their sessions to servers that start over, or to other servers, are moved while their requests wait.
 */
import {isDeepStrictEqual} from 'node:util';
import type {Child} from '../deployment/checked-deployment.js';
import {ChildGraph, type RouteEdge} from './child-graph.js';

type ChangeAction =
	/** It is new. */
	| 'add'
	| 'remove'
	/** It is stopped in order and started anew, on a new thread. */
	| 'restart'
	/** It goes on, and a session of it leads elsewhere. */
	| 'rewire'
	/** It goes on, on other CPUs. */
	| 'repin'
	/** It goes on with another priority, heartbeat or meaning of its exit. */
	| 'adjust';

export interface PlannedChange {
	readonly child: string;
	readonly action: ChangeAction;
	/** What changes, or why. */
	readonly detail: string;
}

/** A required session of a child. */
export interface SessionName {
	readonly child: string;
	readonly label: string;
}

export interface ChangePlan {
	/** In the order of the new deployment; what is removed stands last. */
	readonly changes: readonly PlannedChange[];
	/** Children that go on running on their threads. */
	readonly kept: ReadonlySet<string>;
	/** Sessions of kept children that get another server, or a new instance of theirs. */
	readonly moved: readonly SessionName[];
	/** Sessions of kept children behind which there will be other data. */
	readonly reset: readonly SessionName[];
	/** Kept children whose thread gets other CPUs, another priority or another heartbeat. */
	readonly placed: readonly string[];
}

/** The same text for the same data, in whatever order its keys were written. */
function canonicalText(data: unknown): string {
	return JSON.stringify(data, (_key, value: unknown) =>
		typeof value === 'object' && value !== null && !Array.isArray(value)
			? Object.fromEntries(Object.entries(value).sort(([left], [right]) => (left < right ? -1 : 1)))
			: value,
	);
}

function megabytes(byteLength: number): string {
	return `${byteLength / 2 ** 20}M`;
}

function cpuText(cpus: readonly number[]): string {
	return cpus.length === 0 ? 'any CPU' : `CPU ${cpus.join(',')}`;
}

/** One deployment with what the planner asks of it. */
class Side {
	readonly graph: ChildGraph;
	readonly #byName: ReadonlyMap<string, Child>;

	constructor(children: readonly Child[]) {
		this.graph = new ChildGraph(children);
		this.#byName = new Map(children.map(child => [child.name, child]));
	}

	child(name: string): Child | undefined {
		return this.#byName.get(name);
	}

	routes(name: string): ReadonlyMap<string, RouteEdge> {
		const child = this.#byName.get(name);
		return new Map(child ? this.graph.routesFrom(child).map(edge => [edge.route.label, edge]) : []);
	}

	/** The first stateful children behind a server, itself included. */
	stateBehind(server: Child): Set<string> {
		return server.component.stateful
			? new Set([server.name])
			: new Set(this.graph.routesFrom(server).flatMap(edge => [...this.stateBehind(edge.server)]));
	}

	/** What the data behind a child lies on: media, anchors and whatever else requires nothing itself. */
	sources(child: Child, isNew: (name: string) => boolean): Set<string> {
		const edges = this.graph.routesFrom(child);
		if (edges.length > 0) {
			return new Set(edges.flatMap(({server}) => [...this.sources(server, isNew)]));
		}

		if (child.component.stateful) {
			// Its data lives and dies with its thread.
			return new Set([`${child.name}, ${isNew(child.name) ? 'started anew' : 'running'}`]);
		}

		const isInterchangeable = Object.values(child.component.provides).every(({interchangeable}) => interchangeable);
		return new Set(isInterchangeable ? [] : [`${child.binary} ${canonicalText(child.config)}`]);
	}

	/** How many clients share the memory that a child hands out. */
	memorySharers(child: Child): number {
		const shared = new Set(
			Object.values(child.component.provides)
				.filter(({sharesMemory}) => sharesMemory)
				.map(({name}) => name),
		);
		return this.graph.routesTo(child).filter(({route}) => shared.has(route.service)).length;
	}
}

class Planner {
	readonly #before: Side;
	readonly #after: Side;
	readonly #common: ReadonlyArray<readonly [Child, Child]>;
	/** Why a child of both deployments starts over. */
	readonly #reasons = new Map<string, string[]>();

	constructor(before: readonly Child[], after: readonly Child[]) {
		this.#before = new Side(before);
		this.#after = new Side(after);
		this.#common = after.flatMap(child => {
			const old = this.#before.child(child.name);
			return old ? [[old, child] as const] : [];
		});
	}

	plan(): ChangePlan {
		for (const [old, child] of this.#common) {
			this.#compare(old, child);
		}

		for (let count = -1; count < this.#reasons.size;) {
			count = this.#reasons.size;
			for (const pair of this.#common) {
				if (!this.#reasons.has(pair[1].name)) {
					this.#follow(...pair);
				}
			}
		}

		const kept = this.#common.filter(([, {name}]) => !this.#reasons.has(name));
		return {
			changes: [...this.#after.graph.children.flatMap(child => this.#changesOf(child)), ...this.#removals()],
			kept: new Set(kept.map(([, {name}]) => name)),
			moved: kept.flatMap(([old]) => this.#sessionsOf(old, edge => this.#isMoved(edge))),
			reset: kept.flatMap(([old]) => this.#sessionsOf(old, edge => this.#isReset(edge))),
			placed: kept
				.filter(
					([old, child]) =>
						!isDeepStrictEqual(
							[old.cpus, old.priority, old.heartbeat],
							[child.cpus, child.priority, child.heartbeat],
						),
				)
				.map(([, {name}]) => name),
		};
	}

	#restart(name: string, reason: string): void {
		this.#reasons.set(name, [...(this.#reasons.get(name) ?? []), reason]);
	}

	/** True where no thread of the running deployment serves under this name afterwards. */
	#isNew = (name: string): boolean => this.#reasons.has(name) || !this.#before.child(name);
	#neverNew = (): boolean => false;

	#compare(old: Child, child: Child): void {
		const {name} = child;
		if (old.binary !== child.binary || old.modulePath !== child.modulePath) {
			this.#restart(
				name,
				old.binary === child.binary
					? `another module of binary ${child.binary}`
					: `binary ${child.binary} (was ${old.binary})`,
			);
		} else if (!isDeepStrictEqual(old.config, child.config)) {
			this.#restart(name, 'another <config>');
		}

		if (old.ramQuantum !== child.ramQuantum) {
			this.#restart(name, `RAM ${megabytes(child.ramQuantum)} (was ${megabytes(old.ramQuantum)})`);
		}

		if (old.group !== child.group) {
			this.#restart(name, 'another thread');
		}

		if (!isDeepStrictEqual(old.isolation, child.isolation)) {
			this.#restart(
				name,
				!child.isolation
					? 'on a thread of the runtime'
					: old.isolation
						? 'another <isolation>'
						: 'in a process of its own',
			);
		}

		if (!isDeepStrictEqual(old.environment, child.environment)) {
			this.#restart(name, 'another <parent-provides>');
		}

		const [sharers, sharersBefore] = [this.#after.memorySharers(child), this.#before.memorySharers(old)];
		if (sharers !== sharersBefore) {
			this.#restart(name, `its memory is shared by ${sharers} clients (was ${sharersBefore})`);
		}
	}

	/** What others that start over, come or go mean for a child that would go on. */
	#follow(old: Child, child: Child): void {
		const {
			name,
			component: {stateful},
		} = child;
		const mate = [...this.#before.graph.groupOf(old), ...this.#after.graph.groupOf(child)].find(
			one => this.#isNew(one.name) || !this.#after.child(one.name),
		);
		if (mate) {
			this.#restart(name, `shares its thread with "${mate.name}"`);
			return;
		}

		if (stateful) {
			const lost = [...this.#before.graph.children].find(
				server =>
					server.component.stateful &&
					(this.#reasons.has(server.name) || !this.#after.child(server.name)) &&
					this.#before.graph.dependents(server).has(old),
			);
			if (lost) {
				this.#restart(name, `relies on the state of "${lost.name}"`);
				return;
			}

			if (
				!isDeepStrictEqual(this.#before.sources(old, this.#neverNew), this.#after.sources(child, this.#isNew))
			) {
				this.#restart(name, 'lies on other data');
				return;
			}
		}

		const reason = this.#immovableSession(old, child);
		if (reason !== undefined) {
			this.#restart(name, reason);
		}
	}

	/** Why a session of a child cannot be moved while the child runs, where there is such a session. */
	#immovableSession(old: Child, child: Child): string | undefined {
		const [before, after] = [this.#before.routes(old.name), this.#after.routes(child.name)];
		for (const label of new Set([...before.keys(), ...after.keys()])) {
			const [from, to] = [before.get(label), after.get(label)];
			if (!from || !to) {
				return to ? `its session "${label}" is new` : `its session "${label}" is gone`;
			}

			if (!this.#isMoved(from)) {
				continue;
			}

			if (from.server.group === old.group || to.server.group === child.group) {
				return `its session "${label}" is with its own thread`;
			}

			const sharesMemory = Object.values(to.server.component.provides).some(
				session => session.name === to.route.service && session.sharesMemory,
			);
			if (sharesMemory) {
				return `its session "${label}" shares memory`;
			}

			if (
				child.component.stateful &&
				!isDeepStrictEqual(this.#before.stateBehind(from.server), this.#after.stateBehind(to.server))
			) {
				return `its session "${label}" leads to other state`;
			}
		}

		return undefined;
	}

	#sessionsOf(client: Child, applies: (edge: RouteEdge) => boolean): SessionName[] {
		return this.#before.graph
			.routesFrom(client)
			.filter(edge => applies(edge))
			.map(({route: {label}}) => ({child: client.name, label}));
	}

	/** @param from a session in the running deployment */
	#isMoved({client, server, route: {label, serverLabel}}: RouteEdge): boolean {
		const to = this.#after.routes(client.name).get(label);
		return to?.server.name !== server.name || to.route.serverLabel !== serverLabel || this.#isNew(server.name);
	}

	#isReset({client, server, route: {label}}: RouteEdge): boolean {
		const to = this.#after.routes(client.name).get(label);
		return (
			to !== undefined &&
			!isDeepStrictEqual(
				this.#before.sources(server, this.#neverNew),
				this.#after.sources(to.server, this.#isNew),
			)
		);
	}

	#changesOf(child: Child): PlannedChange[] {
		const {name} = child;
		const old = this.#before.child(name);
		if (!old) {
			return [{child: name, action: 'add', detail: `binary ${child.binary}`}];
		}

		const reasons = this.#reasons.get(name);
		return reasons
			? [{child: name, action: 'restart', detail: reasons.join(', ')}]
			: [...this.#rewirings(old, child), ...this.#placements(old, child)];
	}

	#rewirings(old: Child, child: Child): PlannedChange[] {
		const after = this.#after.routes(child.name);
		const target = ({server, route: {serverLabel}}: RouteEdge) =>
			serverLabel === undefined ? server.name : `${server.name}, as ${serverLabel}`;
		return this.#before.graph.routesFrom(old).flatMap((edge): PlannedChange[] => {
			const {label} = edge.route;
			const edgeAfter = after.get(label);
			const [from, to] = [target(edge), edgeAfter && target(edgeAfter)];
			return to === undefined || to === from
				? []
				: [{child: child.name, action: 'rewire', detail: `${label} -> ${to} (was ${from})`}];
		});
	}

	#placements(old: Child, child: Child): PlannedChange[] {
		const {name} = child;
		const changes: PlannedChange[] = [];
		if (!isDeepStrictEqual(old.cpus, child.cpus)) {
			changes.push({child: name, action: 'repin', detail: `${cpuText(child.cpus)} (was ${cpuText(old.cpus)})`});
		}

		if (old.priority !== child.priority) {
			changes.push({child: name, action: 'adjust', detail: `nice value ${child.priority} (was ${old.priority})`});
		}

		if (old.heartbeat?.rateMs !== child.heartbeat?.rateMs) {
			changes.push({
				child: name,
				action: 'adjust',
				detail: child.heartbeat ? `heartbeat every ${child.heartbeat.rateMs} ms` : 'no heartbeat',
			});
		}

		if (old.exitPropagate !== child.exitPropagate) {
			changes.push({
				child: name,
				action: 'adjust',
				detail: child.exitPropagate ? 'the runtime ends with it' : 'the runtime does not end with it',
			});
		}

		return changes;
	}

	#removals(): PlannedChange[] {
		return this.#before.graph.children
			.filter(({name}) => !this.#after.child(name))
			.map(({name, binary}) => ({child: name, action: 'remove', detail: `binary ${binary}`}));
	}
}

/** @param before what runs, @param after what shall run; both with servers before their clients */
export function planChange(before: readonly Child[], after: readonly Child[]): ChangePlan {
	return new Planner(before, after).plan();
}

/**
 * One line for the log: `restart crypto (binary crypto_noble (was crypto_openssl)); repin block_file (CPU 1 (was any
 * CPU))`.
 */
export function describeChanges(changes: readonly PlannedChange[]): string {
	return changes.map(({child, action, detail}) => `${action} ${child} (${detail})`).join('; ');
}
