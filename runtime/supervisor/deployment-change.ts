/** Has another deployment run: waits until everything is up, applies the change, and mends what it broke. */
import {setTimeout} from 'node:timers/promises';
import type {Child} from '../deployment/checked-deployment.js';
import {planChange} from './change-plan.js';
import type {ChildRecovery} from './child-recovery.js';
import type {ChildStarter} from './child-starter.js';
import {Deferred} from './deferred.js';
import {clearEnvironment} from './isolated-start.js';
import {BrokenChangeError, ChangeError, LiveChange} from './live-change.js';
import type {ManagedChild} from './managed-child.js';
import type {OrderlyEnd} from './orderly-end.js';
import type {SupervisionState} from './supervision-state.js';

/** Time for everything to be up before an edit of the deployment is applied. */
const settleTimeLimitMs = 30_000;

export interface ChangeParts {
	readonly starter: ChildStarter;
	readonly recovery: ChildRecovery;
	readonly end: OrderlyEnd;
	/** Calls of the runtime's user, which are answered first. */
	readonly calls: ReadonlySet<Promise<unknown>>;
}

export class DeploymentChange {
	readonly #state: SupervisionState;
	readonly #starter: ChildStarter;
	readonly #recovery: ChildRecovery;
	readonly #end: OrderlyEnd;
	readonly #calls: ReadonlySet<Promise<unknown>>;

	constructor(state: SupervisionState, {starter, recovery, end, calls}: ChangeParts) {
		this.#state = state;
		this.#starter = starter;
		this.#recovery = recovery;
		this.#end = end;
		this.#calls = calls;
	}

	/**
	 * Has these children run instead, under the clients of those that go on. Resolves with the time for which requests
	 * had to wait, in milliseconds.
	 * @throws ChangeError where that failed and what ran before runs again
	 */
	async run(children: readonly Child[]): Promise<number> {
		await this.#settled();
		const over = new Deferred<void>();
		this.#state.changed = over.promise;
		try {
			return await this.#apply(children);
		} finally {
			this.#state.change = undefined;
			over.resolve();
		}
	}

	/** Everything is up, and nothing is being done to it. @throws ChangeError where that does not come to pass */
	async #settled(): Promise<void> {
		await this.#state.changed;
		await Promise.race([this.#state.ready.promise, this.#state.ended.promise]);
		const isUp = ({state}: ManagedChild) => state === 'up' || state === 'finished';
		for (const managed of this.#state.table.children) {
			await Promise.race([
				isUp(managed) || managed.up.promise,
				this.#state.ended.promise,
				setTimeout(settleTimeLimitMs, undefined, {ref: false}),
			]);
			if (!isUp(managed) || this.#end.isAsked) {
				throw new ChangeError(
					this.#end.isAsked ? 'the runtime stops' : `child "${managed.child.name}" is ${managed.state}`,
				);
			}
		}
	}

	async #apply(children: readonly Child[]): Promise<number> {
		const from = this.#state.table;
		const plan = planChange(from.graph.children, children);
		const change = new LiveChange(
			{
				wiring: this.#state.wiring,
				spawn: (group, table) => {
					this.#starter.spawn(group, table);
				},
				bringUp: async managed => this.#starter.bringUp(managed, true),
				stopChild: async managed => this.#end.stopInTime(managed),
				install: table => {
					this.#state.install(table);
				},
			},
			plan,
			from,
			children,
		);
		this.#state.change = change;
		const answered = Promise.allSettled(this.#calls).then(() => true);
		if (!(await Promise.race([answered, setTimeout(settleTimeLimitMs, false, {ref: false})]))) {
			throw new ChangeError('a request of the command line goes on');
		}

		try {
			await change.run();
			clearEnvironment(this.#state.table.graph.children);
			this.#starter.placeAnew(plan);
			return change.pauseMs;
		} catch (error) {
			if (error instanceof BrokenChangeError) {
				await this.#mend(change, error.message);
				throw new ChangeError(`${error.message}; what was touched starts over from the last secured state`);
			}

			throw error;
		}
	}

	/**
	 * A change broke off half way: what it stopped and what died meanwhile starts over, from the last secured state.
	 */
	async #mend(change: LiveChange, reason: string): Promise<void> {
		await change.abandon();
		const table = change.before;
		this.#state.install(table);
		this.#state.wiring.adopt(table.graph, []);
		const died = [...this.#state.diedMeanwhile]
			.flatMap(({children}) => children)
			.flatMap(({child}) => [...table.graph.lostWith(child)]);
		this.#state.diedMeanwhile.clear();
		const touched = change.touched.flatMap(name => [...table.graph.lostWith(table.named(name)!.child)]);
		const lost = new Set([...died, ...touched]);
		this.#state.log.say(
			`the change broke off (${reason}); restarting ${[...lost].map(({name}) => name).join(', ')}`,
			'error',
		);
		const groups = new Set([...lost].map(child => this.#state.of(child).group));
		// From here on a death is one like any other.
		this.#state.change = undefined;
		const closings = this.#recovery.lose(lost, reason);
		this.#state.wiring.resumeAll();
		await Promise.race([
			Promise.all([...groups].map(async group => this.#recovery.revive(group, 0, closings))),
			this.#state.ended.promise,
		]);
	}
}
