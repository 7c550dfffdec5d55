/** Makes the threads and processes of groups, binds them, and starts the children in them once their servers are up. */
import {availableParallelism} from 'node:os';
import {machineCpus} from '../deployment/affinity.js';
import type {Child} from '../deployment/checked-deployment.js';
import {bufferShare, heapLimits} from '../deployment/ram-share.js';
import type {FromHost} from '../host/messages.js';
import {pinThread, setNice} from '../sdk/thread-placement.js';
import type {ChangePlan} from './change-plan.js';
import type {ChildGraph} from './child-graph.js';
import {Deferred} from './deferred.js';
import type {GroupHost, HostEnd, HostOptions} from './group-host.js';
import {secretsForThreads, startIsolated} from './isolated-start.js';
import type {ManagedChild, ManagedGroup} from './managed-child.js';
import type {SupervisionState} from './supervision-state.js';
import {WorkerThread} from './worker-thread.js';

/** The shortest interval that a child on a thread asks for counts; none where nobody asks. */
function beatOf({children}: ManagedGroup): number | undefined {
	const beats = children.flatMap(({child: {heartbeat}}) => (heartbeat ? [heartbeat.rateMs] : []));
	return beats.length > 0 ? Math.min(...beats) : undefined;
}

function clientCounts(graph: ChildGraph, child: Child): Record<string, number> {
	const counts: Record<string, number> = {};
	for (const {route} of graph.routesTo(child)) {
		counts[route.service] = (counts[route.service] ?? 0) + 1;
	}

	return counts;
}

export interface HostEvents {
	onMessage(group: ManagedGroup, message: FromHost): void;
	/** Any host has ended, also one that its group has replaced. */
	onEnd(thread: GroupHost): void;
	/** The group's present host has ended. */
	onDeath(group: ManagedGroup, end: HostEnd): void;
}

export class ChildStarter {
	readonly #state: SupervisionState;
	readonly #events: HostEvents;

	constructor(state: SupervisionState, events: HostEvents) {
		this.#state = state;
		this.#events = events;
	}

	/** Makes a host for a group, whose children are known to it by their table. */
	spawn(group: ManagedGroup, {graph} = this.#state.table): void {
		const children = group.children.map(({child}) => child);
		const limits = heapLimits(children.map(({ramQuantum}) => ramQuantum));
		const options: HostOptions = {
			name: group.name,
			heartbeatMs: beatOf(group),
			data: {
				ramQuantum: children.reduce((sum, {ramQuantum}) => sum + ramQuantum, 0),
				stateDirectory: this.#state.stateDirectory,
				children: children.map(child => ({
					name: child.name,
					modulePath: child.modulePath,
					config: child.config,
					leaseLimit: bufferShare(child.ramQuantum),
					clientCounts: clientCounts(graph, child),
					cpuCount: child.cpus.length || availableParallelism(),
					environment: child.environment,
				})),
			},
			onMessage: message => {
				if (group.thread === thread || message.type === 'log') {
					this.#events.onMessage(group, message);
				}
			},
			onEnd: end => {
				this.#events.onEnd(thread);
				if (group.thread === thread) {
					this.#events.onDeath(group, end);
				}

				group.isGone = true;
				group.ended.resolve();
			},
		};
		const thread: GroupHost = group.isolation
			? startIsolated({
					...options,
					limits,
					children,
					isolation: group.isolation,
					warn: text => {
						this.#state.log.say(`child "${group.name}": ${text}`, 'warning');
					},
				})
			: new WorkerThread({...options, limits, secrets: secretsForThreads(children)});
		group.thread = thread;
		group.ready = new Deferred();
		group.ended = new Deferred();
		group.isGone = false;
	}

	/** Binds the thread to the CPUs and the priority of its children. */
	place({thread, children}: ManagedGroup, isAnew = false): void {
		const tid = thread!.tid!;
		const cpus = [...new Set(children.flatMap(({child}) => child.cpus))];
		const nice = Math.min(...children.map(({child}) => child.priority));
		try {
			if (cpus.length > 0 || isAnew) {
				pinThread(tid, cpus.length > 0 ? cpus : machineCpus());
			}

			if (nice !== 0 || isAnew) {
				setNice(tid, nice);
			}
		} catch (error) {
			this.#state.log.say(`child "${children[0].child.name}": ${(error as Error).message}`, 'warning');
		}
	}

	/** Binds the threads that a change has moved, and asks for their signs of life as it says. */
	placeAnew({placed}: ChangePlan): void {
		for (const group of new Set(placed.map(name => this.#state.table.named(name)!.group))) {
			this.place(group, true);
			group.thread?.beatEvery(beatOf(group));
		}
	}

	/** Starts a child once its servers are up. @throws where it fails to start or dies meanwhile */
	async bringUp(managed: ManagedChild, isChange = false): Promise<void> {
		const {child, group} = managed;
		const {thread} = group;
		managed.wait();
		await group.ready.promise;
		for (let down = this.#serverDown(child); down && group.thread === thread; down = this.#serverDown(child)) {
			await down.up.promise;
		}

		if (group.thread !== thread || this.#state.isEnding) {
			return;
		}

		managed.begin();
		const connections = this.#state.table.graph.routesFrom(child).map(edge => this.#state.wiring.open(edge));
		managed.post(
			{type: 'start', child: child.name, connections},
			connections.flatMap(({port}) => (port ? [port] : [])),
		);
		if (child.component.kind === 'service') {
			await managed.started.promise;
		}

		managed.comeUp();
		if (!isChange) {
			this.#state.wiring.reconnectClients(child);
		}
	}

	#serverDown(client: Child): ManagedChild | undefined {
		for (const {server} of this.#state.table.graph.routesFrom(client)) {
			const managed = this.#state.of(server);
			if (managed.state !== 'up') {
				return managed;
			}
		}

		return undefined;
	}
}
