/** What the supervisor knows about one child and about one group of children on a thread. */
import type {Child, Isolation} from '../deployment/checked-deployment.js';
import type {ToHost} from '../host/messages.js';
import {Deferred} from './deferred.js';
import {RestartBudget} from './restart-budget.js';
import type {SessionHandle} from '../transport/session-port.js';
import type {GroupHost} from './group-host.js';

export type ChildState =
	/** Its servers are not all up yet. */
	| 'waiting'
	/** Its `start` runs. */
	| 'starting'
	/** It serves, or, for a tool, does its job. */
	| 'up'
	/** A tool whose job is done. */
	| 'finished'
	/** It was stopped in order. */
	| 'stopped'
	/** Its thread has ended by a fault, or because something it depends on was lost. */
	| 'dead';

export class ManagedChild {
	/** Another one of the same name where the deployment was edited and the child goes on. */
	child: Child;
	readonly group: ManagedGroup;
	#state: ChildState = 'waiting';
	hints: readonly string[] = [];
	/** Restarts after faults, its own or those of what it relies on. */
	restartCount = 0;
	/** Restarts that a person has asked for, of itself or of what it relies on. */
	requestedRestartCount = 0;
	/** Resolves when the child is up, or lost before it was; a new one takes its place when the child dies. */
	up = new Deferred<void>();
	/** The host's answer to `start`. */
	started = new Deferred<void>();
	/** The host's answer to `stop` with what went wrong, if anything, or the child's death. */
	stopped = new Deferred<string | undefined>();

	constructor(child: Child, group: ManagedGroup) {
		this.child = child;
		this.group = group;
	}

	get state(): ChildState {
		return this.#state;
	}

	/** True while sessions to and from it can be managed. */
	get alive(): boolean {
		return this.#state === 'starting' || this.#state === 'up';
	}

	/** True where nothing of it runs any more. */
	get isAtRest(): boolean {
		return this.#state === 'stopped' || this.#state === 'finished' || this.#state === 'dead';
	}

	/** A host for it is being made. */
	wait(): void {
		this.#state = 'waiting';
	}

	/** Its host is told to start it. */
	begin(): void {
		this.#state = 'starting';
	}

	comeUp(): void {
		this.#state = 'up';
		this.up.resolve();
	}

	/** The tool has done its job. */
	finish(): void {
		this.#state = 'finished';
		this.stopped.resolve(undefined);
	}

	/** It was told to stop, and has or has not. */
	comeToRest(): void {
		if (this.#state !== 'finished' && this.#state !== 'dead') {
			this.#state = 'stopped';
		}
	}

	/** Tells the child's host something; nothing where it has no thread. */
	post(message: ToHost, ends: readonly SessionHandle[] = []): void {
		this.group.thread?.post(message, ends);
	}

	lose(reason: string): void {
		this.#state = 'dead';
		this.hints = [];
		this.started.reject(new Error(reason));
		this.stopped.resolve(undefined);
		// Whoever waits for it looks again.
		this.up.resolve();
		this.started = new Deferred();
		this.stopped = new Deferred();
		this.up = new Deferred();
	}
}

export class ManagedGroup {
	readonly name: string;
	/** Undefined for a thread of the runtime. */
	readonly isolation: Isolation | undefined;
	readonly children: ManagedChild[] = [];
	readonly budget = new RestartBudget();
	/** While an edit of the deployment is applied: where a child of it cannot start, it is not restarted. */
	onTrial = false;
	/** A person wants it to be restarted: its end is no fault. */
	restartAsked = false;
	/** A thread, or a process of its own. */
	thread: GroupHost | undefined;
	/** The present thread runs, or has ended before it did. */
	ready = new Deferred<void>();
	/** The thread before, or the present one, is no more. */
	ended = new Deferred<void>();
	/** There is no thread, or none any more. */
	isGone = true;

	constructor(name: string, isolation: Isolation | undefined) {
		this.name = name;
		this.isolation = isolation;
		// There is none yet.
		this.ended.resolve();
	}

	/** Ends the thread; its end is no fault. */
	dismiss(): void {
		const {thread} = this;
		if (thread) {
			this.thread = undefined;
			thread.kill('stopped');
		}
	}
}
