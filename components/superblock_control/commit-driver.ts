/**
 * Drives the commit machine: takes events, tells what the machine tells, and performs what it asks for, one action
 * after the other.
 */
import {isSessionError} from '../../runtime/sdk/session.js';
import {isBeforeSync} from '../lib/format/durable-write.js';
import {transition} from './commit-machine.js';
import type {CommitEvent, Notice, Action, CommitState, Core} from './commit-state.js';

export interface CommitEffects {
	/** Performs an action; what it throws is the machine's to judge. */
	perform(action: Action): Promise<CommitEvent>;
	/** Waits for nothing. */
	notify(notice: Notice): void;
}

export class CommitDriver {
	#state: CommitState;
	readonly #effects: CommitEffects;

	constructor(state: CommitState, effects: CommitEffects) {
		this.#state = state;
		this.#effects = effects;
	}

	get core(): Core {
		return this.#state.core;
	}

	/** Takes an event from outside; where it begins a commit, that goes on by itself. */
	take(event: CommitEvent): void {
		const action = this.#apply(event);
		if (action) {
			void this.#pursue(action);
		}
	}

	async #pursue(first: Action): Promise<void> {
		for (let action: Action | undefined = first; action;) {
			action = this.#apply(await this.#outcomeOf(action));
		}
	}

	async #outcomeOf(action: Action): Promise<CommitEvent> {
		try {
			return await this.#effects.perform(action);
		} catch (error) {
			return {
				kind: 'failed',
				error,
				code: isSessionError(error) ? error.code : undefined,
				isBeforeSync: isBeforeSync(error),
			};
		}
	}

	#apply(event: CommitEvent): Action | undefined {
		const {state, notices, action} = transition(this.#state, event);
		this.#state = state;
		if (notices) {
			for (const notice of notices) {
				this.#effects.notify(notice);
			}
		}

		return action;
	}
}
