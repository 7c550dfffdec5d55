/**
 * Supervision: starts the children of a deployment in order, connects their sessions, restarts what dies, and stops
 * everything in order.
 *
 * Invariants: a child starts only when all its servers are up. A replacement is connected only when every surviving
 * server has confirmed that the dead client's sessions are closed. A request never waits for a server that cannot come
 * back: its session is then disconnected as lost.
 */
import {availableParallelism} from 'node:os';
import {setTimeout} from 'node:timers/promises';
import type {Child} from '../deployment/model.js';
import type {FromHost, ToHost} from '../host/messages.js';
import {pinThread, setNice} from '../placement.js';
import type {LogLevel} from '../sdk/component.js';
import {ChildGraph} from './child-graph.js';
import {Deferred} from './deferred.js';
import {Inquiries} from './inquiries.js';
import {ManagedChild, ManagedGroup} from './managed-child.js';
import {bufferShare, heapLimits} from './ram-share.js';
import {restartCountMax, restartWindowMs} from './restart-budget.js';
import {SessionWiring} from './session-wiring.js';
import {WorkerThread, type ThreadEnd} from './worker-thread.js';

/** Time for a child to stop in order, or to finish its start when the runtime stops meanwhile. */
const stopTimeLimitMs = 30_000;

export interface SupervisionOptions {
	readonly children: readonly Child[];
	readonly stateDirectory: string;
	/** Writes one line. */
	log(line: string): void;
}

function servicePrefix(level: LogLevel): string {
	return level === 'info' ? '' : `${level}: `;
}

export class Supervision {
	/** Resolves with the exit code when everything has stopped. */
	readonly ended = new Deferred<number>();
	/** Resolves when every child is up. */
	readonly ready = new Deferred<void>();
	readonly #graph: ChildGraph;
	readonly #stateDirectory: string;
	readonly #log: (line: string) => void;
	readonly #children = new Map<string, ManagedChild>();
	readonly #groups = new Map<string, ManagedGroup>();
	readonly #wiring: SessionWiring;
	readonly #inquiries = new Inquiries();
	#isFirstStart = true;
	#exitCode = 0;
	#ending: Promise<void> | undefined;

	constructor({children, stateDirectory, log}: SupervisionOptions) {
		this.#graph = new ChildGraph(children);
		this.#wiring = new SessionWiring(this.#graph, child => this.#of(child));
		this.#stateDirectory = stateDirectory;
		this.#log = log;
		for (const child of children) {
			let group = this.#groups.get(child.group);
			if (!group) {
				group = new ManagedGroup(child.group);
				this.#groups.set(child.group, group);
			}

			const managed = new ManagedChild(child, group);
			group.children.push(managed);
			this.#children.set(child.name, managed);
		}
	}

	get children(): Iterable<ManagedChild> {
		return this.#children.values();
	}

	get inquiries(): Inquiries {
		return this.#inquiries;
	}

	/** Starts everything; a child that cannot start ends the runtime. */
	async start(): Promise<void> {
		for (const group of this.#groups.values()) {
			this.#spawn(group);
		}

		for (const managed of this.#children.values()) {
			try {
				await this.#bringUp(managed);
			} catch (error) {
				if (!this.#ending) {
					this.#log(`[runtime] child "${managed.child.name}" failed to start: ${(error as Error).message}`);
					this.ready.reject(error as Error);
					void this.end(1);
				}

				return;
			}

			if (this.#ending) {
				return;
			}
		}

		this.#isFirstStart = false;
		this.ready.resolve();
	}

	/** What the components offer to the outside, as shell commands. */
	get hints(): readonly string[] {
		return [...this.#children.values()].flatMap(({hints}) => hints);
	}

	/** Stops all children, clients before servers, and resolves `ended`. The first exit code that is not 0 counts. */
	async end(exitCode: number): Promise<void> {
		this.#exitCode ||= exitCode;
		this.#ending ??= this.#stopAll();
		return this.#ending;
	}

	/** Ends a child's thread as a fault would; it is restarted as after one. Resolves when all it took along is up again. */
	async restart(name: string): Promise<void> {
		const managed = this.#children.get(name);
		if (!managed) {
			throw new Error(`there is no child "${name}"; the children are ${[...this.#children.keys()].join(', ')}`);
		}

		if (!managed.group.thread || !managed.alive) {
			throw new Error(`child "${name}" does not run now`);
		}

		const {ended} = managed.group;
		managed.group.thread.kill('ended on request', name);
		await ended.promise;
		for (const child of this.#graph.lostWith(managed.child)) {
			await Promise.race([this.#of(child).up.promise, this.ended.promise]);
		}
	}

	/** Asks a child's host something; `undefined` where the child does not run. */
	async inquire<T>(managed: ManagedChild, ask: (id: number) => ToHost, timeLimitMs?: number): Promise<T | undefined> {
		const {thread} = managed.group;
		if (!thread || !managed.alive) {
			return undefined;
		}

		return this.#inquiries.ask<T>(thread, ask, timeLimitMs);
	}

	#of(child: Child): ManagedChild {
		return this.#children.get(child.name)!;
	}

	#spawn(group: ManagedGroup): void {
		const children = group.children.map(({child}) => child);
		const beats = children.flatMap(({heartbeat}) => heartbeat ? [heartbeat.rateMs] : []);
		const thread: WorkerThread = new WorkerThread({
			name: group.name,
			limits: heapLimits(children.map(({ramQuantum}) => ramQuantum)),
			heartbeatMs: beats.length > 0 ? Math.min(...beats) : undefined,
			data: {
				ramQuantum: children.reduce((sum, {ramQuantum}) => sum + ramQuantum, 0),
				stateDirectory: this.#stateDirectory,
				children: children.map(child => ({
					name: child.name,
					modulePath: child.modulePath,
					config: child.config,
					leaseLimit: bufferShare(child.ramQuantum),
					clientCounts: this.#clientCounts(child),
					cpuCount: child.cpus.length || availableParallelism(),
				})),
			},
			onMessage: message => {
				if (group.thread === thread || message.type === 'log') {
					this.#hear(group, message);
				}
			},
			onEnd: end => {
				this.#inquiries.abandon(thread);
				if (group.thread === thread) {
					this.#onDeath(group, end);
				}

				group.ended.resolve();
			},
		});
		group.thread = thread;
		group.ready = new Deferred();
		group.ended = new Deferred();
	}

	#clientCounts(child: Child): Record<string, number> {
		const counts: Record<string, number> = {};
		for (const {route} of this.#graph.routesTo(child)) {
			counts[route.service] = (counts[route.service] ?? 0) + 1;
		}

		return counts;
	}

	#hear(group: ManagedGroup, message: FromHost): void {
		switch (message.type) {
			case 'ready': {
				this.#place(group);
				group.ready.resolve();
				break;
			}

			case 'started': {
				const managed = this.#children.get(message.child)!;
				managed.hints = message.hints;
				managed.started.resolve();
				break;
			}

			case 'start_failed': {
				this.#onStartFailed(this.#children.get(message.child)!, message.message);
				break;
			}

			case 'closed': {
				this.#wiring.confirmClosed(message.session);
				break;
			}

			case 'stopped': {
				if (message.problem) {
					this.#log(`[runtime] child "${message.child}" did not stop cleanly: ${message.problem}`);
					this.#exitCode ||= 1;
				}

				this.#children.get(message.child)!.stopped.resolve();
				break;
			}

			case 'finished': {
				this.#onFinished(this.#children.get(message.child)!, message.exitValue, message.message);
				break;
			}

			case 'log': {
				for (const line of message.text.split('\n')) {
					this.#log(`[runtime -> ${message.child}] ${servicePrefix(message.level)}${line}`);
				}

				break;
			}

			case 'bad_reply': {
				this.#children.get(message.server)?.group.thread?.kill(message.reason, message.server);
				break;
			}

			case 'figures': {
				this.#inquiries.answer(message.id, message.children);
				break;
			}

			case 'call_done': {
				this.#inquiries.answer(message.id, message);
				break;
			}

			case 'beat':
			case 'died': {
				break;
			}
		}
	}

	/** Binds the thread to the CPUs and the priority of its children. */
	#place({thread, children}: ManagedGroup): void {
		const tid = thread!.tid!;
		const cpus = [...new Set(children.flatMap(({child}) => child.cpus))];
		const nice = Math.min(...children.map(({child}) => child.priority));
		try {
			if (cpus.length > 0) {
				pinThread(tid, cpus);
			}

			if (nice !== 0) {
				setNice(tid, nice);
			}
		} catch (error) {
			this.#log(`[runtime] child "${children[0].child.name}": ${(error as Error).message}`);
		}
	}

	/** Starts a child once its servers are up. @throws where it fails to start or dies meanwhile */
	async #bringUp(managed: ManagedChild): Promise<void> {
		const {child, group} = managed;
		const {thread} = group;
		managed.state = 'waiting';
		await group.ready.promise;
		for (let down = this.#serverDown(child); down && group.thread === thread; down = this.#serverDown(child)) {
			await down.up.promise;
		}

		if (group.thread !== thread || this.#ending) {
			return;
		}

		managed.state = 'starting';
		const connections = this.#graph.routesFrom(child).map(edge => this.#wiring.open(edge));
		managed.post({type: 'start', child: child.name, connections}, connections.flatMap(({port}) => port ? [port] : []));
		if (child.component.kind === 'service') {
			await managed.started.promise;
		}

		managed.state = 'up';
		managed.up.resolve();
		this.#wiring.reconnectClients(child);
	}

	#serverDown(client: Child): ManagedChild | undefined {
		for (const {server} of this.#graph.routesFrom(client)) {
			const managed = this.#of(server);
			if (managed.state !== 'up') {
				return managed;
			}
		}

		return undefined;
	}

	#onStartFailed(managed: ManagedChild, message: string): void {
		if (this.#isFirstStart || this.#ending) {
			managed.started.reject(new Error(message));
		} else {
			managed.group.thread?.kill(`failed to start: ${message}`, managed.child.name);
		}
	}

	#onFinished(managed: ManagedChild, exitValue: number, message: string | undefined): void {
		managed.state = 'finished';
		managed.stopped.resolve();
		this.#log(`[runtime] child "${managed.child.name}" exited with exit value ${exitValue}${message ? `: ${message}` : ''}`);
		if (managed.child.exitPropagate) {
			void this.end(exitValue);
		}
	}

	#onDeath(group: ManagedGroup, {child: culprit, reason, exitCode, isFault}: ThreadEnd): void {
		const managed = group.children.find(({child}) => child.name === culprit) ?? group.children[0];
		const name = group.children.length === 1 || culprit ? managed.child.name : group.children.map(one => one.child.name).join(', ');
		if (managed.child.component.kind === 'tool') {
			void this.#lose(this.#graph.groupOf(managed.child), reason);
			if (!this.#ending) {
				this.#onFinished(managed, -1, reason);
			}
		} else if (this.#ending) {
			this.#log(`[runtime] child "${name}" died while stopping: ${reason}`);
			this.#exitCode ||= 1;
			void this.#lose(this.#graph.groupOf(managed.child), reason);
			this.#wiring.abandonUnconnected();
		} else if (managed.child.exitPropagate && !isFault) {
			this.#log(`[runtime] child "${name}" exited with exit value ${exitCode}`);
			void this.#lose(this.#graph.groupOf(managed.child), reason);
			void this.end(exitCode);
		} else {
			this.#recover(group, managed, name, reason);
		}
	}

	#recover(group: ManagedGroup, culprit: ManagedChild, name: string, reason: string): void {
		const lost = this.#graph.lostWith(culprit.child);
		if (this.#isFirstStart && [...lost].some(child => this.#of(child).state !== 'up')) {
			this.#failFirstStart(culprit, lost, name, reason);
			return;
		}

		const restart = group.budget.take(performance.now());
		if (!restart) {
			this.#log(`[runtime] child "${name}" died: ${reason}, not restarted again after ${restartCountMax} times in ${restartWindowMs / 1000} s: the runtime stops`);
			void this.#lose(lost, reason);
			void this.end(1);
			return;
		}

		this.#log(`[runtime] child "${name}" died: ${reason}, restarting (${restart.count} of ${restartCountMax})`);
		const along = [...lost].filter(({group: other}) => other !== group.name).map(child => child.name);
		if (along.length > 0) {
			this.#log(`[runtime] restarting with it what relied on its state: ${along.join(', ')}`);
		}

		const closings = this.#lose(lost, `"${name}" died`);
		for (const lostGroup of new Set([...lost].map(child => this.#of(child).group))) {
			void this.#revive(lostGroup, restart.pauseMs, closings);
		}
	}

	/** Not everything was up yet: `start` reports a child that has never been up, others are reported here. */
	#failFirstStart(culprit: ManagedChild, lost: ReadonlySet<Child>, name: string, reason: string): void {
		const wasUp = culprit.state === 'up';
		void this.#lose(lost, reason);
		if (wasUp) {
			this.#log(`[runtime] child "${name}" died: ${reason}, before everything was started: the runtime stops`);
			void this.end(1);
		}
	}

	/** Ends the threads of lost children and every session with them; the result resolves when survivors have confirmed. */
	async #lose(lost: Iterable<Child>, reason: string): Promise<void> {
		const lostChildren = new Set(lost);
		const threads = new Set<ManagedGroup>();
		for (const child of lostChildren) {
			const managed = this.#of(child);
			threads.add(managed.group);
			managed.lose(reason);
		}

		for (const group of threads) {
			const {thread} = group;
			group.thread = undefined;
			group.ready.reject(new Error(reason));
			thread?.kill(reason);
		}

		await this.#wiring.lose(lostChildren);
	}

	async #revive(group: ManagedGroup, pauseMs: number, closings: Promise<unknown>): Promise<void> {
		await group.ended.promise;
		await closings;
		await setTimeout(pauseMs);
		if (this.#ending || group.thread) {
			return;
		}

		this.#spawn(group);
		const {thread} = group;
		for (const managed of group.children) {
			managed.restartCount++;
			try {
				await this.#bringUp(managed);
			} catch {
				// It died again, which `#onDeath` has dealt with.
				return;
			}

			if (group.thread !== thread) {
				return;
			}
		}
	}

	async #stopAll(): Promise<void> {
		this.#wiring.abandonUnconnected();
		for (const managed of [...this.#children.values()].reverse()) {
			await this.#stopChild(managed);
		}

		for (const {ended} of this.#groups.values()) {
			await ended.promise;
		}

		this.ready.reject(new Error('the runtime was stopped'));
		this.ended.resolve(this.#exitCode);
	}

	async #stopChild(managed: ManagedChild): Promise<void> {
		const {child, group} = managed;
		if (managed.state === 'starting') {
			await Promise.race([managed.started.promise.catch(() => undefined), setTimeout(stopTimeLimitMs, undefined, {ref: false})]);
		}

		if (managed.alive && child.component.kind === 'service') {
			const stopped = managed.stopped.promise.then(() => true);
			managed.post({type: 'stop', child: child.name});
			const inTime = await Promise.race([stopped, setTimeout(stopTimeLimitMs, false, {ref: false})]);
			if (!inTime) {
				this.#log(`[runtime] child "${child.name}" did not stop within ${stopTimeLimitMs / 1000} s`);
				this.#exitCode ||= 1;
			}
		}

		if (managed.state !== 'finished' && managed.state !== 'dead') {
			managed.state = 'stopped';
		}

		if (group.children.every(({state}) => state === 'stopped' || state === 'finished' || state === 'dead')) {
			this.#dismiss(group);
		}
	}

	/** Ends a thread whose children have all stopped. */
	#dismiss(group: ManagedGroup): void {
		const {thread} = group;
		if (thread) {
			group.thread = undefined;
			thread.kill('stopped');
		}
	}
}
