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
import type {Child} from '../deployment/checked-deployment.js';
import {unfinishedExitValue} from '../sdk/component.js';
import type {FromHost, ToHost} from '../host/messages.js';
import {machineCpus} from '../deployment/affinity.js';
import {suggestName} from '../deployment/suggestion.js';
import {pinThread, setNice} from '../sdk/thread-placement.js';
import {planChange, type ChangePlan} from './change-plan.js';
import type {ChildGraph} from './child-graph.js';
import {Deferred} from './deferred.js';
import type {GroupHost, HostEnd, HostOptions} from './group-host.js';
import {PendingRequests} from './pending-requests.js';
import {clearEnvironment, secretsForThreads, startIsolated} from './isolated-start.js';
import {BrokenChangeError, ChangeError, LiveChange} from './live-change.js';
import {RuntimeLog, type LogSink} from './log.js';
import type {ManagedChild, ManagedGroup} from './managed-child.js';
import {bufferShare, heapLimits} from '../deployment/ram-share.js';
import {restartCountMax, restartWindowMs} from './restart-budget.js';
import {ChildTable} from './child-table.js';
import {SessionWiring} from './session-wiring.js';
import {WorkerThread} from './worker-thread.js';

/** How long the end may take, in milliseconds. */
export interface EndLimits {
	/** For a child to stop in order, or to finish its start when the runtime stops meanwhile. */
	readonly childMs: number;
	/** For all of them, and the least that each one has, where others have used it up. */
	readonly allMs: number;
	readonly leastMs: number;
	/** For threads and processes to be gone once they were told to end. */
	readonly goneMs: number;
}

const endLimits: EndLimits = {childMs: 30_000, allMs: 60_000, leastMs: 2000, goneMs: 5000};
/** Time for everything to be up before an edit of the deployment is applied. */
const settleTimeLimitMs = 30_000;

/** Time for the death of a process to be noticed, whose sessions end before. */
const brokenEndMs = 2000;

export interface SupervisionOptions {
	readonly children: readonly Child[];
	readonly stateDirectory: string;
	/** Takes the lines of the log. */
	readonly log: LogSink;
	/** Shorter ones for tests. */
	readonly limits?: EndLimits;
}

/** The shortest wish of the children on a thread counts; none where nobody has one. */
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

/** How far the end is. */
export interface EndStage {
	/** The child that is being stopped; missing where threads and processes are waited for. */
	readonly child: string | undefined;
	readonly doneCount: number;
	readonly count: number;
}

async function within(limitMs: number, promise: Promise<unknown>): Promise<boolean> {
	return Promise.race([
		promise.then(
			() => true,
			() => true,
		),
		setTimeout(limitMs, false, {ref: false}),
	]);
}

export class Supervision {
	/** Resolves with the exit code when everything has stopped. */
	readonly ended = new Deferred<number>();
	/** Resolves when every child is up. */
	readonly ready = new Deferred<void>();
	readonly #stateDirectory: string;
	readonly log: RuntimeLog;
	readonly #limits: EndLimits;
	#table: ChildTable;
	readonly #wiring: SessionWiring;
	readonly #pendingRequests = new PendingRequests();
	/** Calls of the runtime's user; a change of the deployment waits for them. */
	readonly #calls = new Set<Promise<unknown>>();
	#isFirstStart = true;
	#exitCode = 0;
	#change: LiveChange | undefined;
	/** Resolves when the change that is being applied, if any, is over. */
	#changed = Promise.resolve();
	/** Groups that died while a change was applied, although it did not start them. */
	readonly #diedMeanwhile = new Set<ManagedGroup>();
	#isEnding = false;
	#ending: Promise<void> | undefined;
	#endStage: EndStage | undefined;
	#endsBeforeMs = 0;
	readonly #endProblems: string[] = [];

	constructor({children, stateDirectory, log, limits = endLimits}: SupervisionOptions) {
		this.#limits = limits;
		this.#table = new ChildTable(children);
		this.#wiring = new SessionWiring(this.#table.graph, child => this.#of(child));
		this.#stateDirectory = stateDirectory;
		this.log = new RuntimeLog(log);
	}

	get children(): Iterable<ManagedChild> {
		return this.#table.children;
	}

	/** Starts everything; a child that cannot start ends the runtime. */
	async start(): Promise<void> {
		// Processes first, which get their secrets from the environment: each thread gets a copy of it, where they are
		// no more then.
		const groups = [...this.#table.groups];
		for (const group of groups.filter(({isolation}) => isolation)) {
			this.#spawn(group);
		}

		clearEnvironment(this.#table.graph.children);
		for (const group of groups.filter(({isolation}) => !isolation)) {
			this.#spawn(group);
		}

		// Whatever cannot even be loaded is known before the first component makes a file.
		const loaded = [...this.#table.children].map(managed => ({
			managed,
			step: async () => managed.group.ready.promise,
		}));
		const up = [...this.#table.children].map(managed => ({managed, step: async () => this.#bringUp(managed)}));
		for (const {managed, step} of [...loaded, ...up]) {
			try {
				await step();
			} catch (error) {
				if (!this.#isEnding) {
					this.log.say(`child "${managed.child.name}" failed to start: ${(error as Error).message}`, 'error');
					this.ready.reject(error as Error);
					void this.end(1);
				}

				return;
			}

			if (this.#isEnding) {
				return;
			}
		}

		this.#isFirstStart = false;
		this.ready.resolve();
	}

	/** What the components offer to the outside, as shell commands. */
	get hints(): readonly string[] {
		return [...this.#table.children].flatMap(({hints}) => hints);
	}

	/**
	 * Stops all children, clients before servers, and resolves `ended`, in bounded time whatever they do. The first
	 * exit code that is not 0 counts.
	 */
	async end(exitCode: number): Promise<void> {
		this.#exitCode ||= exitCode;
		this.#ending ??= this.#endAll();
		return this.#ending;
	}

	/** How far the end is; undefined while nobody has asked for it. */
	get endStage(): EndStage | undefined {
		return this.#endStage;
	}

	/** What went wrong while everything was stopped. */
	get endProblems(): readonly string[] {
		return this.#endProblems;
	}

	/** Names of children whose thread or process was told to end and is still there. */
	get lingering(): readonly string[] {
		return [...this.#table.groups].filter(({isGone}) => !isGone).map(({name}) => name);
	}

	/** What would have to be done so that these children run instead. */
	plan(children: readonly Child[]): ChangePlan {
		return planChange(this.#table.graph.children, children);
	}

	/**
	 * Has these children run instead, under the clients of those that go on. Resolves with the time for which requests
	 * had to wait, in milliseconds.
	 * @throws ChangeError where that failed and what ran before runs again
	 */
	async change(children: readonly Child[]): Promise<number> {
		await this.#settled();
		const over = new Deferred<void>();
		this.#changed = over.promise;
		try {
			return await this.#apply(children);
		} finally {
			this.#change = undefined;
			over.resolve();
		}
	}

	/**
	 * Ends a child's thread as a fault would; it is restarted as after one. Resolves when all it took along is up
	 * again.
	 */
	async restart(name: string): Promise<void> {
		await this.#changed;
		const managed = this.#table.named(name);
		if (!managed) {
			throw new Error(`there is no child "${name}"; ${suggestName(name, this.#table.names, 'children')}`);
		}

		if (!managed.group.thread || !managed.alive) {
			throw new Error(`child "${name}" does not run now`);
		}

		if (this.#isFirstStart) {
			throw new Error('the runtime still starts; wait until it is ready');
		}

		const {ended} = managed.group;
		managed.group.restartAsked = true;
		managed.group.thread.kill('ended on request', name);
		await ended.promise;
		for (const child of this.#table.graph.lostWith(managed.child)) {
			await Promise.race([this.#of(child).up.promise, this.ended.promise]);
		}
	}

	/** Asks a child's host something; `undefined` where the child does not run. */
	async query<T>(managed: ManagedChild, ask: (id: number) => ToHost, timeLimitMs?: number): Promise<T | undefined> {
		const {thread} = managed.group;
		if (!thread || !managed.alive) {
			return undefined;
		}

		return this.#pendingRequests.request<T>(thread, ask, timeLimitMs);
	}

	/** Looks for a child when no change is being applied. */
	async settledChild(find: () => ManagedChild): Promise<ManagedChild> {
		while (this.#change) {
			await this.#changed;
		}

		return find();
	}

	/** As `query`, for a request of the runtime's user: a change waits for its answer. */
	async call<T>(managed: ManagedChild, ask: (id: number) => ToHost, timeLimitMs?: number): Promise<T | undefined> {
		const answer = this.query<T>(managed, ask, timeLimitMs);
		this.#calls.add(answer);
		return answer.finally(() => this.#calls.delete(answer));
	}

	/** Everything is up, and nothing is being done to it. @throws ChangeError where that does not come to pass */
	async #settled(): Promise<void> {
		await this.#changed;
		await Promise.race([this.ready.promise, this.ended.promise]);
		const isUp = ({state}: ManagedChild) => state === 'up' || state === 'finished';
		for (const managed of this.#table.children) {
			await Promise.race([
				isUp(managed) || managed.up.promise,
				this.ended.promise,
				setTimeout(settleTimeLimitMs, undefined, {ref: false}),
			]);
			if (!isUp(managed) || this.#ending) {
				throw new ChangeError(
					this.#ending ? 'the runtime stops' : `child "${managed.child.name}" is ${managed.state}`,
				);
			}
		}
	}

	async #apply(children: readonly Child[]): Promise<number> {
		const from = this.#table;
		const plan = this.plan(children);
		const change = new LiveChange(
			{
				wiring: this.#wiring,
				spawn: (group, table) => {
					this.#spawn(group, table);
				},
				bringUp: async managed => this.#bringUp(managed, true),
				stopChild: async managed => this.#stopInTime(managed),
				install: table => {
					this.#install(table);
				},
			},
			plan,
			from,
			children,
		);
		this.#change = change;
		const answered = Promise.allSettled(this.#calls).then(() => true);
		if (!(await Promise.race([answered, setTimeout(settleTimeLimitMs, false, {ref: false})]))) {
			throw new ChangeError('a request of the command line goes on');
		}

		try {
			await change.run();
			clearEnvironment(this.#table.graph.children);
			this.#placeAnew(plan);
			return change.pauseMs;
		} catch (error) {
			if (error instanceof BrokenChangeError) {
				await this.#mend(change, error.message);
				throw new ChangeError(`${error.message}; what was touched starts over from the last secured state`);
			}

			throw error;
		}
	}

	#install(table: ChildTable): void {
		this.#table = table;
		table.install();
	}

	#placeAnew({placed}: ChangePlan): void {
		for (const group of new Set(placed.map(name => this.#table.named(name)!.group))) {
			this.#place(group, true);
			group.thread?.beatEvery(beatOf(group));
		}
	}

	/**
	 * A change broke off half way: what it stopped and what died meanwhile starts over, from the last secured state.
	 */
	async #mend(change: LiveChange, reason: string): Promise<void> {
		await change.abandon();
		const table = change.before;
		this.#install(table);
		this.#wiring.adopt(table.graph, []);
		const died = [...this.#diedMeanwhile]
			.flatMap(({children}) => children)
			.flatMap(({child}) => [...table.graph.lostWith(child)]);
		this.#diedMeanwhile.clear();
		const touched = change.touched.flatMap(name => [...table.graph.lostWith(table.named(name)!.child)]);
		const lost = new Set([...died, ...touched]);
		this.log.say(
			`the change broke off (${reason}); restarting ${[...lost].map(({name}) => name).join(', ')}`,
			'error',
		);
		const groups = new Set([...lost].map(child => this.#of(child).group));
		// From here on a death is one like any other.
		this.#change = undefined;
		const closings = this.#lose(lost, reason);
		this.#wiring.resumeAll();
		await Promise.race([
			Promise.all([...groups].map(async group => this.#revive(group, 0, closings))),
			this.ended.promise,
		]);
	}

	#of(child: Child): ManagedChild {
		return this.#table.of(child);
	}

	#spawn(group: ManagedGroup, {graph} = this.#table): void {
		const children = group.children.map(({child}) => child);
		const limits = heapLimits(children.map(({ramQuantum}) => ramQuantum));
		const options: HostOptions = {
			name: group.name,
			heartbeatMs: beatOf(group),
			data: {
				ramQuantum: children.reduce((sum, {ramQuantum}) => sum + ramQuantum, 0),
				stateDirectory: this.#stateDirectory,
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
					this.#receive(group, message);
				}
			},
			onEnd: end => {
				this.#pendingRequests.abandon(thread);
				if (group.thread === thread) {
					this.#onDeath(group, end);
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
						this.log.say(`child "${group.name}": ${text}`, 'warning');
					},
				})
			: new WorkerThread({...options, limits, secrets: secretsForThreads(children)});
		group.thread = thread;
		group.ready = new Deferred();
		group.ended = new Deferred();
		group.isGone = false;
	}

	#receive(group: ManagedGroup, message: FromHost): void {
		const sender = (name: string) => group.children.find(({child}) => child.name === name)!;
		switch (message.type) {
			case 'ready': {
				this.#place(group);
				group.ready.resolve();
				break;
			}

			case 'started': {
				const managed = sender(message.child);
				managed.hints = message.hints;
				managed.started.resolve();
				break;
			}

			case 'start_failed': {
				this.#onStartFailed(sender(message.child), message.message);
				break;
			}

			case 'closed': {
				this.#wiring.confirmClosed(message.session, group);
				break;
			}

			case 'held': {
				if (this.#wiring.peerOf(message.session, group)) {
					this.#wiring.confirmHeld(message.session);
				}

				break;
			}

			case 'connected': {
				if (this.#wiring.peerOf(message.session, group)) {
					this.#wiring.confirmConnected(message.session, message.problem);
				}

				break;
			}

			case 'stopped': {
				sender(message.child).stopped.resolve(message.problem);
				break;
			}

			case 'finished': {
				this.#onFinished(sender(message.child), message.exitValue, message.message);
				break;
			}

			case 'log': {
				this.log.write(message.child, message.level, message.text);
				break;
			}

			case 'bad_reply': {
				if (group.children.some(({child}) => child.routes.some(({server}) => server === message.server))) {
					this.#table.named(message.server)?.group.thread?.kill(message.reason, message.server);
				}

				break;
			}

			case 'session_broken': {
				this.#onBroken(group, message);
				break;
			}

			case 'figures': {
				this.#pendingRequests.answer(message.id, message.children, group.thread);
				break;
			}

			case 'call_done': {
				this.#pendingRequests.answer(message.id, message, group.thread);
				break;
			}

			case 'beat':
			case 'died': {
				break;
			}
		}
	}

	/**
	 * A session's other end sent nonsense or went away. What went away because it died is dealt with as a death before
	 * long.
	 */
	#onBroken(group: ManagedGroup, {session, reason, isEnd}: Extract<FromHost, {type: 'session_broken'}>): void {
		const cutOff = () => {
			const peer = this.#wiring.peerOf(session, group);
			if (peer) {
				// Threads are this program's own: where one of the two is none, it is that one.
				const culprit = peer.isolation ? peer : group;
				culprit.thread?.kill(isEnd ? `cut off: ${reason}` : `cut off: it sent ${reason}`);
			}
		};
		if (isEnd) {
			setTimeout(brokenEndMs, undefined, {ref: false}).then(cutOff, () => undefined);
		} else {
			cutOff();
		}
	}

	/** Binds the thread to the CPUs and the priority of its children. */
	#place({thread, children}: ManagedGroup, isAnew = false): void {
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
			this.log.say(`child "${children[0].child.name}": ${(error as Error).message}`, 'warning');
		}
	}

	/** Starts a child once its servers are up. @throws where it fails to start or dies meanwhile */
	async #bringUp(managed: ManagedChild, isChange = false): Promise<void> {
		const {child, group} = managed;
		const {thread} = group;
		managed.state = 'waiting';
		await group.ready.promise;
		for (let down = this.#serverDown(child); down && group.thread === thread; down = this.#serverDown(child)) {
			await down.up.promise;
		}

		if (group.thread !== thread || this.#isEnding) {
			return;
		}

		managed.state = 'starting';
		const connections = this.#table.graph.routesFrom(child).map(edge => this.#wiring.open(edge));
		managed.post(
			{type: 'start', child: child.name, connections},
			connections.flatMap(({port}) => (port ? [port] : [])),
		);
		if (child.component.kind === 'service') {
			await managed.started.promise;
		}

		managed.state = 'up';
		managed.up.resolve();
		if (!isChange) {
			this.#wiring.reconnectClients(child);
		}
	}

	#serverDown(client: Child): ManagedChild | undefined {
		for (const {server} of this.#table.graph.routesFrom(client)) {
			const managed = this.#of(server);
			if (managed.state !== 'up') {
				return managed;
			}
		}

		return undefined;
	}

	#onStartFailed(managed: ManagedChild, message: string): void {
		if (this.#isFirstStart || this.#isEnding || managed.group.onTrial) {
			managed.started.reject(new Error(message));
		} else {
			managed.group.thread?.kill(`failed to start: ${message}`, managed.child.name);
		}
	}

	#onFinished(managed: ManagedChild, exitValue: number, message: string | undefined): void {
		managed.state = 'finished';
		managed.stopped.resolve(undefined);
		this.log.say(
			`child "${managed.child.name}" exited with exit value ${exitValue}${message ? `: ${message}` : ''}`,
		);
		if (managed.child.exitPropagate) {
			void this.end(exitValue);
		}
	}

	#onDeath(group: ManagedGroup, {child: culprit, reason, exitCode, isFault}: HostEnd): void {
		const managed = group.children.find(({child}) => child.name === culprit) ?? group.children[0];
		if (this.#change) {
			if (!group.onTrial) {
				this.#diedMeanwhile.add(group);
			}

			this.#change.noteDeath(group, managed.child.name, reason);
			return;
		}

		const name =
			group.children.length === 1 || culprit
				? managed.child.name
				: group.children.map(one => one.child.name).join(', ');
		if (managed.child.component.kind === 'tool') {
			void this.#lose(this.#table.graph.groupOf(managed.child), reason);
			if (!this.#isEnding) {
				this.#onFinished(managed, unfinishedExitValue, `not finished: ${reason}`);
			}
		} else if (this.#isEnding) {
			this.#noteEndProblem(`child "${name}" died while stopping: ${reason}`);
			void this.#lose(this.#table.graph.groupOf(managed.child), reason);
			this.#wiring.abandonUnconnected();
		} else if (managed.child.exitPropagate && !isFault) {
			this.log.say(`child "${name}" exited with exit value ${exitCode}`);
			void this.#lose(this.#table.graph.groupOf(managed.child), reason);
			void this.end(exitCode);
		} else {
			this.#recover(group, managed, name, reason);
		}
	}

	#recover(group: ManagedGroup, culprit: ManagedChild, name: string, reason: string): void {
		const lost = this.#table.graph.lostWith(culprit.child);
		if (this.#isFirstStart && [...lost].some(child => this.#of(child).state !== 'up')) {
			this.#failFirstStart(culprit, lost, name, reason);
			return;
		}

		const {restartAsked} = group;
		group.restartAsked = false;
		// What a person asks for is no sign of a fault that comes back.
		const restart = restartAsked ? {count: 0, pauseMs: 0} : group.budget.take(performance.now());
		if (!restart) {
			this.log.say(
				`child "${name}" died: ${reason}, not restarted again after ${restartCountMax} times in ${restartWindowMs / 1000} s: the runtime stops`,
				'error',
			);
			void this.#lose(lost, reason);
			void this.end(1);
			return;
		}

		if (restartAsked) {
			this.log.say(`child "${name}" was ended on request, restarting`);
		} else {
			this.log.say(
				`child "${name}" died: ${reason}, restarting (${restart.count} of ${restartCountMax})`,
				'error',
			);
		}

		const along = [...lost].filter(({group: other}) => other !== group.name).map(child => child.name);
		if (along.length > 0) {
			this.log.say(`restarting with it what relied on its state: ${along.join(', ')}`);
		}

		const closings = this.#lose(lost, `"${name}" died`);
		for (const lostGroup of new Set([...lost].map(child => this.#of(child).group))) {
			void this.#revive(lostGroup, restart.pauseMs, closings, restartAsked);
		}
	}

	/** Not everything was up yet: `start` reports a child that has never been up, others are reported here. */
	#failFirstStart(culprit: ManagedChild, lost: ReadonlySet<Child>, name: string, reason: string): void {
		const wasUp = culprit.state === 'up';
		void this.#lose(lost, reason);
		if (wasUp) {
			this.log.say(`child "${name}" died: ${reason}, before everything was started: the runtime stops`, 'error');
			void this.end(1);
		}
	}

	/**
	 * Ends the threads of lost children and every session with them; the result resolves when survivors have confirmed.
	 */
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

	async #revive(group: ManagedGroup, pauseMs: number, closings: Promise<unknown>, isAsked = false): Promise<void> {
		await group.ended.promise;
		await closings;
		await setTimeout(pauseMs);
		if (this.#isEnding || group.thread) {
			return;
		}

		this.#spawn(group);
		const {thread} = group;
		for (const managed of group.children) {
			managed.restartCount += isAsked ? 0 : 1;
			managed.requestedRestartCount += isAsked ? 1 : 0;
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

	#noteEndProblem(problem: string): void {
		this.#endProblems.push(problem);
		this.log.say(problem, 'error');
		this.#exitCode ||= 1;
	}

	async #endAll(): Promise<void> {
		const children = [...this.#table.children].reverse();
		this.#endsBeforeMs = performance.now() + this.#limits.allMs;
		this.#endStage = {child: undefined, doneCount: 0, count: children.length};
		// An edit that is being applied is over first, one way or the other; where it stands still, what it did counts
		// for nothing.
		if (this.#change && !(await within(this.#limits.childMs, this.#changed))) {
			this.#noteEndProblem(
				`an edit of the deployment was being applied and not through after ${this.#limits.childMs / 1000} s`,
			);
		}

		await this.#stopAll([...this.#table.children].reverse());
	}

	async #stopAll(children: readonly ManagedChild[]): Promise<void> {
		this.#isEnding = true;
		this.#wiring.abandonUnconnected();
		for (const [doneCount, managed] of children.entries()) {
			this.#endStage = {child: managed.child.name, doneCount, count: children.length};
			const problem = await this.#stopInTime(managed);
			if (problem !== undefined) {
				this.#noteEndProblem(`child "${managed.child.name}" did not stop cleanly: ${problem}`);
			}

			if (
				managed.group.children.every(
					({state}) => state === 'stopped' || state === 'finished' || state === 'dead',
				)
			) {
				managed.group.dismiss();
			}
		}

		this.#endStage = {child: undefined, doneCount: children.length, count: children.length};
		// Whatever a thread waits for in the kernel, the runtime does not: its process ends with it.
		if (
			!(await within(
				this.#limits.goneMs,
				Promise.all([...this.#table.groups].map(async ({ended}) => ended.promise)),
			))
		) {
			this.#noteEndProblem(
				`not gone ${this.#limits.goneMs / 1000} s after they were ended: ${this.lingering.join(', ')}; they end with the process`,
			);
		}

		this.log.close();
		this.ready.reject(new Error('the runtime was stopped'));
		this.ended.resolve(this.#exitCode);
	}

	/** Milliseconds that a child may take to stop: what is left for all of them, within bounds. */
	#stopTimeMs(): number {
		const {childMs, leastMs} = this.#limits;
		return Math.max(leastMs, Math.min(childMs, this.#endsBeforeMs - performance.now()));
	}

	/** Stops a child in order; resolves with what went wrong, if anything. */
	async #stopInTime(managed: ManagedChild): Promise<string | undefined> {
		const {child} = managed;
		// An edit of the deployment stops children without the runtime's end, each in its own time.
		const limitMs = () => (this.#endStage ? this.#stopTimeMs() : this.#limits.childMs);
		if (managed.state === 'starting') {
			await within(limitMs(), managed.started.promise);
		}

		let problem: string | undefined;
		if (managed.alive && child.component.kind === 'service') {
			const limit = limitMs();
			managed.post({type: 'stop', child: child.name});
			problem = await Promise.race([
				managed.stopped.promise,
				setTimeout(limit, `not within ${Math.round(limit / 1000)} s`, {ref: false}),
			]);
		}

		if (managed.state !== 'finished' && managed.state !== 'dead') {
			managed.state = 'stopped';
		}

		return problem;
	}
}
