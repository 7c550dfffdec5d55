/**
 * The orderly end: all children stop, clients before servers, in bounded time whatever they do. A request never waits
 * for a server that cannot come back.
 */
import {setTimeout} from 'node:timers/promises';
import type {ManagedChild} from './managed-child.js';
import type {SupervisionState} from './supervision-state.js';

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

export class OrderlyEnd {
	readonly #state: SupervisionState;
	readonly #limits: EndLimits;
	readonly #problems: string[] = [];
	#exitCode = 0;
	#ending: Promise<void> | undefined;
	#stage: EndStage | undefined;
	#endsBeforeMs = 0;

	constructor(state: SupervisionState, limits: EndLimits = endLimits) {
		this.#state = state;
		this.#limits = limits;
	}

	/** True once somebody has asked for it. */
	get isAsked(): boolean {
		return this.#ending !== undefined;
	}

	/** How far it is; undefined while nobody has asked for it. */
	get stage(): EndStage | undefined {
		return this.#stage;
	}

	/** What went wrong while everything was stopped. */
	get problems(): readonly string[] {
		return this.#problems;
	}

	/** Names of children whose thread or process was told to end and is still there. */
	get lingering(): readonly string[] {
		return [...this.#state.table.groups].filter(({isGone}) => !isGone).map(({name}) => name);
	}

	/** Stops everything, once; the first exit code that is not 0 counts. */
	async begin(exitCode: number): Promise<void> {
		this.#exitCode ||= exitCode;
		this.#ending ??= this.#endAll();
		return this.#ending;
	}

	/** A tool has done its job, or will not. */
	toolFinished(managed: ManagedChild, exitValue: number, message: string | undefined): void {
		managed.finish();
		this.#state.log.say(
			`child "${managed.child.name}" exited with exit value ${exitValue}${message ? `: ${message}` : ''}`,
		);
		if (managed.child.exitPropagate) {
			void this.begin(exitValue);
		}
	}

	/** Something went wrong while everything was stopped. */
	noteProblem(problem: string): void {
		this.#problems.push(problem);
		this.#state.log.say(problem, 'error');
		this.#exitCode ||= 1;
	}

	async #endAll(): Promise<void> {
		const children = [...this.#state.table.children].reverse();
		this.#endsBeforeMs = performance.now() + this.#limits.allMs;
		this.#stage = {child: undefined, doneCount: 0, count: children.length};
		// An edit that is being applied is over first, one way or the other; where it stands still, what it did counts
		// for nothing.
		if (this.#state.change && !(await within(this.#limits.childMs, this.#state.changed))) {
			this.noteProblem(
				`an edit of the deployment was being applied and not through after ${this.#limits.childMs / 1000} s`,
			);
		}

		await this.#stopAll([...this.#state.table.children].reverse());
	}

	async #stopAll(children: readonly ManagedChild[]): Promise<void> {
		this.#state.isEnding = true;
		this.#state.wiring.abandonUnconnected();
		for (const [doneCount, managed] of children.entries()) {
			this.#stage = {child: managed.child.name, doneCount, count: children.length};
			const problem = await this.stopInTime(managed);
			if (problem !== undefined) {
				this.noteProblem(`child "${managed.child.name}" did not stop cleanly: ${problem}`);
			}

			if (managed.group.children.every(({isAtRest}) => isAtRest)) {
				managed.group.dismiss();
			}
		}

		this.#stage = {child: undefined, doneCount: children.length, count: children.length};
		// Whatever a thread waits for in the kernel, the runtime does not: its process ends with it.
		if (
			!(await within(
				this.#limits.goneMs,
				Promise.all([...this.#state.table.groups].map(async ({ended}) => ended.promise)),
			))
		) {
			this.noteProblem(
				`not gone ${this.#limits.goneMs / 1000} s after they were ended: ${this.lingering.join(', ')}; they end with the process`,
			);
		}

		this.#state.log.close();
		this.#state.ready.reject(new Error('the runtime was stopped'));
		this.#state.ended.resolve(this.#exitCode);
	}

	/** Milliseconds that a child may take to stop: what is left for all of them, within bounds. */
	#stopTimeMs(): number {
		const {childMs, leastMs} = this.#limits;
		return Math.max(leastMs, Math.min(childMs, this.#endsBeforeMs - performance.now()));
	}

	/** Stops a child in order; resolves with what went wrong, if anything. */
	async stopInTime(managed: ManagedChild): Promise<string | undefined> {
		const {child} = managed;
		// An edit of the deployment stops children without the runtime's end, each in its own time.
		const limitMs = () => (this.#stage ? this.#stopTimeMs() : this.#limits.childMs);
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

		managed.comeToRest();
		return problem;
	}
}
