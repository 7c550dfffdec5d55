/**
 * What the death of a thread or process means: who is lost with it, whether it is restarted, and when the runtime stops
 * instead. A replacement is connected only when every surviving server has confirmed that the dead client's sessions
 * are closed.
 */
import {setTimeout} from 'node:timers/promises';
import type {Child} from '../deployment/checked-deployment.js';
import {unfinishedExitValue} from '../sdk/component.js';
import type {ChildStarter} from './child-starter.js';
import type {HostEnd} from './group-host.js';
import type {ManagedChild, ManagedGroup} from './managed-child.js';
import type {OrderlyEnd} from './orderly-end.js';
import {restartCountMax, restartWindowMs} from './restart-budget.js';
import type {SupervisionState} from './supervision-state.js';

export class ChildRecovery {
	readonly #state: SupervisionState;
	readonly #starter: ChildStarter;
	readonly #end: OrderlyEnd;

	constructor(state: SupervisionState, starter: ChildStarter, end: OrderlyEnd) {
		this.#state = state;
		this.#starter = starter;
		this.#end = end;
	}

	/** The host of a group has ended. */
	died(group: ManagedGroup, {child: culprit, reason, exitCode, isFault}: HostEnd): void {
		const managed = group.children.find(({child}) => child.name === culprit) ?? group.children[0];
		if (this.#state.change) {
			if (!group.onTrial) {
				this.#state.diedMeanwhile.add(group);
			}

			this.#state.change.noteDeath(group, managed.child.name, reason);
			return;
		}

		const name =
			group.children.length === 1 || culprit
				? managed.child.name
				: group.children.map(one => one.child.name).join(', ');
		if (managed.child.component.kind === 'tool') {
			void this.lose(this.#state.table.graph.groupOf(managed.child), reason);
			if (!this.#state.isEnding) {
				this.#end.toolFinished(managed, unfinishedExitValue, `not finished: ${reason}`);
			}
		} else if (this.#state.isEnding) {
			this.#end.noteProblem(`child "${name}" died while stopping: ${reason}`);
			void this.lose(this.#state.table.graph.groupOf(managed.child), reason);
			this.#state.wiring.abandonUnconnected();
		} else if (managed.child.exitPropagate && !isFault) {
			this.#state.log.say(`child "${name}" exited with exit value ${exitCode}`);
			void this.lose(this.#state.table.graph.groupOf(managed.child), reason);
			void this.#end.begin(exitCode);
		} else {
			this.#recover(group, managed, name, reason);
		}
	}

	#recover(group: ManagedGroup, culprit: ManagedChild, name: string, reason: string): void {
		const lost = this.#state.table.graph.lostWith(culprit.child);
		if (this.#state.isFirstStart && [...lost].some(child => this.#state.of(child).state !== 'up')) {
			this.#failFirstStart(culprit, lost, name, reason);
			return;
		}

		const {restartAsked} = group;
		group.restartAsked = false;
		// What a person asks for is no sign of a fault that comes back.
		const restart = restartAsked ? {count: 0, pauseMs: 0} : group.budget.take(performance.now());
		if (!restart) {
			this.#state.log.say(
				`child "${name}" died: ${reason}, not restarted again after ${restartCountMax} times in ${restartWindowMs / 1000} s: the runtime stops`,
				'error',
			);
			void this.lose(lost, reason);
			void this.#end.begin(1);
			return;
		}

		if (restartAsked) {
			this.#state.log.say(`child "${name}" was ended on request, restarting`);
		} else {
			this.#state.log.say(
				`child "${name}" died: ${reason}, restarting (${restart.count} of ${restartCountMax})`,
				'error',
			);
		}

		const along = [...lost].filter(({group: other}) => other !== group.name).map(child => child.name);
		if (along.length > 0) {
			this.#state.log.say(`restarting with it what relied on its state: ${along.join(', ')}`);
		}

		const closings = this.lose(lost, `"${name}" died`);
		for (const lostGroup of new Set([...lost].map(child => this.#state.of(child).group))) {
			void this.revive(lostGroup, restart.pauseMs, closings, restartAsked);
		}
	}

	/** Not everything was up yet: `start` reports a child that has never been up, others are reported here. */
	#failFirstStart(culprit: ManagedChild, lost: ReadonlySet<Child>, name: string, reason: string): void {
		const wasUp = culprit.state === 'up';
		void this.lose(lost, reason);
		if (wasUp) {
			this.#state.log.say(
				`child "${name}" died: ${reason}, before everything was started: the runtime stops`,
				'error',
			);
			void this.#end.begin(1);
		}
	}

	/**
	 * Ends the threads of lost children and every session with them; the result resolves when survivors have confirmed.
	 */
	async lose(lost: Iterable<Child>, reason: string): Promise<void> {
		const lostChildren = new Set(lost);
		const threads = new Set<ManagedGroup>();
		for (const child of lostChildren) {
			const managed = this.#state.of(child);
			threads.add(managed.group);
			managed.lose(reason);
		}

		for (const group of threads) {
			const {thread} = group;
			group.thread = undefined;
			group.ready.reject(new Error(reason));
			thread?.kill(reason);
		}

		await this.#state.wiring.lose(lostChildren);
	}

	async revive(group: ManagedGroup, pauseMs: number, closings: Promise<unknown>, isAsked = false): Promise<void> {
		await group.ended.promise;
		await closings;
		await setTimeout(pauseMs);
		if (this.#state.isEnding || group.thread) {
			return;
		}

		this.#starter.spawn(group);
		const {thread} = group;
		for (const managed of group.children) {
			managed.restartCount += isAsked ? 0 : 1;
			managed.requestedRestartCount += isAsked ? 1 : 0;
			try {
				await this.#starter.bringUp(managed);
			} catch {
				// It died again, which `died` has dealt with.
				return;
			}

			if (group.thread !== thread) {
				return;
			}
		}
	}
}
