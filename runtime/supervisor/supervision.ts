/**
 * Supervision: starts the children of a deployment in order, connects their sessions, restarts what dies, and stops
 * everything in order.
 *
 * Invariants: a child starts only when all its servers are up. A replacement is connected only when every surviving
 * server has confirmed that the dead client's sessions are closed. A request never waits for a server that cannot come
 * back: its session is then disconnected as lost.
 */
import type {Child} from '../deployment/checked-deployment.js';
import {suggestName} from '../deployment/suggestion.js';
import type {ToHost} from '../host/messages.js';
import {planChange, type ChangePlan} from './change-plan.js';
import {ChildRecovery} from './child-recovery.js';
import {ChildStarter} from './child-starter.js';
import type {Deferred} from './deferred.js';
import {DeploymentChange} from './deployment-change.js';
import {HostDispatch} from './host-dispatch.js';
import {clearEnvironment} from './isolated-start.js';
import type {LogSink, RuntimeLog} from './log.js';
import type {ManagedChild} from './managed-child.js';
import {OrderlyEnd, type EndLimits, type EndStage} from './orderly-end.js';
import {HostRequests} from './host-requests.js';
import {SupervisionState} from './supervision-state.js';

export interface SupervisionOptions {
	readonly children: readonly Child[];
	readonly stateDirectory: string;
	/** Takes the lines of the log. */
	readonly log: LogSink;
	/** Shorter ones for tests. */
	readonly limits?: EndLimits;
}

export class Supervision {
	readonly #state: SupervisionState;
	readonly #hostRequests = new HostRequests();
	readonly #starter: ChildStarter;
	readonly #end: OrderlyEnd;
	readonly #change: DeploymentChange;
	/** Calls of the runtime's user; a change of the deployment waits for them. */
	readonly #calls = new Set<Promise<unknown>>();

	constructor({children, stateDirectory, log, limits}: SupervisionOptions) {
		const state = new SupervisionState(children, stateDirectory, log);
		const starter = new ChildStarter(state, {
			onMessage: (group, message) => {
				dispatch.receive(group, message);
			},
			onEnd: thread => {
				this.#hostRequests.abandon(thread);
			},
			onDeath: (group, end) => {
				recovery.died(group, end);
			},
		});
		const end = new OrderlyEnd(state, limits);
		const dispatch = new HostDispatch(state, {starter, end, requests: this.#hostRequests});
		const recovery = new ChildRecovery(state, starter, end);
		this.#state = state;
		this.#starter = starter;
		this.#end = end;
		this.#change = new DeploymentChange(state, {starter, recovery, end, calls: this.#calls});
	}

	/** Resolves with the exit code when everything has stopped. */
	get ended(): Deferred<number> {
		return this.#state.ended;
	}

	/** Resolves when every child is up. */
	get ready(): Deferred<void> {
		return this.#state.ready;
	}

	get log(): RuntimeLog {
		return this.#state.log;
	}

	get children(): Iterable<ManagedChild> {
		return this.#state.table.children;
	}

	/** Starts everything; a child that cannot start ends the runtime. */
	async start(): Promise<void> {
		// Processes first, which get their secrets from the environment: each thread gets a copy of it, where they are
		// no more then.
		const groups = [...this.#state.table.groups];
		for (const group of groups.filter(({isolation}) => isolation)) {
			this.#starter.spawn(group);
		}

		clearEnvironment(this.#state.table.graph.children);
		for (const group of groups.filter(({isolation}) => !isolation)) {
			this.#starter.spawn(group);
		}

		// Whatever cannot even be loaded is known before the first component makes a file.
		const loaded = [...this.#state.table.children].map(managed => ({
			managed,
			step: async () => managed.group.ready.promise,
		}));
		const up = [...this.#state.table.children].map(managed => ({
			managed,
			step: async () => this.#starter.bringUp(managed),
		}));
		for (const {managed, step} of [...loaded, ...up]) {
			try {
				await step();
			} catch (error) {
				if (!this.#state.isEnding) {
					this.#state.log.say(
						`child "${managed.child.name}" failed to start: ${(error as Error).message}`,
						'error',
					);
					this.#state.ready.reject(error as Error);
					void this.#end.begin(1);
				}

				return;
			}

			if (this.#state.isEnding) {
				return;
			}
		}

		this.#state.isFirstStart = false;
		this.#state.ready.resolve();
	}

	/** What the components offer to the outside, as shell commands. */
	get hints(): readonly string[] {
		return [...this.#state.table.children].flatMap(({hints}) => hints);
	}

	/**
	 * Stops all children, clients before servers, and resolves `ended`, in bounded time whatever they do. The first
	 * exit code that is not 0 counts.
	 */
	async end(exitCode: number): Promise<void> {
		return this.#end.begin(exitCode);
	}

	/** How far the end is; undefined while nobody has asked for it. */
	get endStage(): EndStage | undefined {
		return this.#end.stage;
	}

	/** What went wrong while everything was stopped. */
	get endProblems(): readonly string[] {
		return this.#end.problems;
	}

	/** Names of children whose thread or process was told to end and is still there. */
	get lingering(): readonly string[] {
		return this.#end.lingering;
	}

	/** What would have to be done so that these children run instead. */
	plan(children: readonly Child[]): ChangePlan {
		return planChange(this.#state.table.graph.children, children);
	}

	/**
	 * Has these children run instead, under the clients of those that go on. Resolves with the time for which requests
	 * had to wait, in milliseconds.
	 * @throws ChangeError where that failed and what ran before runs again
	 */
	async change(children: readonly Child[]): Promise<number> {
		return this.#change.run(children);
	}

	/**
	 * Ends a child's thread as a fault would; it is restarted as after one. Resolves when all it took along is up
	 * again.
	 */
	async restart(name: string): Promise<void> {
		await this.#state.changed;
		const managed = this.#state.table.named(name);
		if (!managed) {
			throw new Error(`there is no child "${name}"; ${suggestName(name, this.#state.table.names, 'children')}`);
		}

		if (!managed.group.thread || !managed.alive) {
			throw new Error(`child "${name}" does not run now`);
		}

		if (this.#state.isFirstStart) {
			throw new Error('the runtime still starts; wait until it is ready');
		}

		const {ended} = managed.group;
		managed.group.restartAsked = true;
		managed.group.thread.kill('ended on request', name);
		await ended.promise;
		for (const child of this.#state.table.graph.lostWith(managed.child)) {
			await Promise.race([this.#state.of(child).up.promise, this.#state.ended.promise]);
		}
	}

	/** Asks a child's host something; `undefined` where the child does not run. */
	async query<T>(managed: ManagedChild, ask: (id: number) => ToHost, timeLimitMs?: number): Promise<T | undefined> {
		const {thread} = managed.group;
		if (!thread || !managed.alive) {
			return undefined;
		}

		return this.#hostRequests.request<T>(thread, ask, timeLimitMs);
	}

	/** Looks for a child when no change is being applied. */
	async settledChild(find: () => ManagedChild): Promise<ManagedChild> {
		while (this.#state.change) {
			await this.#state.changed;
		}

		return find();
	}

	/** As `query`, for a request of the runtime's user: a change waits for its answer. */
	async call<T>(managed: ManagedChild, ask: (id: number) => ToHost, timeLimitMs?: number): Promise<T | undefined> {
		const answer = this.query<T>(managed, ask, timeLimitMs);
		this.#calls.add(answer);
		return answer.finally(() => this.#calls.delete(answer));
	}
}
