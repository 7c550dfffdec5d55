/** Takes what threads and processes say to where it belongs. */
import {setTimeout} from 'node:timers/promises';
import type {FromHost} from '../host/messages.js';
import type {ChildStarter} from './child-starter.js';
import type {ManagedChild, ManagedGroup} from './managed-child.js';
import type {OrderlyEnd} from './orderly-end.js';
import type {HostRequests} from './host-requests.js';
import type {SupervisionState} from './supervision-state.js';

/** Time for the death of a process to be noticed, whose sessions end before. */
const brokenEndMs = 2000;

export interface DispatchParts {
	readonly starter: ChildStarter;
	readonly end: OrderlyEnd;
	readonly requests: HostRequests;
}

export class HostDispatch {
	readonly #state: SupervisionState;
	readonly #starter: ChildStarter;
	readonly #end: OrderlyEnd;
	readonly #hostRequests: HostRequests;

	constructor(state: SupervisionState, {starter, end, requests}: DispatchParts) {
		this.#state = state;
		this.#starter = starter;
		this.#end = end;
		this.#hostRequests = requests;
	}

	receive(group: ManagedGroup, message: FromHost): void {
		const sender = (name: string) => group.children.find(({child}) => child.name === name)!;
		switch (message.type) {
			case 'ready': {
				this.#starter.place(group);
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

			case 'closed':
			case 'held':
			case 'connected':
			case 'session_broken': {
				this.#receiveOfSession(group, message);
				break;
			}

			case 'stopped': {
				sender(message.child).stopped.resolve(message.problem);
				break;
			}

			case 'finished': {
				this.#end.toolFinished(sender(message.child), message.exitValue, message.message);
				break;
			}

			case 'log': {
				this.#state.log.write(message.child, message.level, message.text);
				break;
			}

			case 'bad_reply': {
				if (group.children.some(({child}) => child.routes.some(({server}) => server === message.server))) {
					this.#state.table.named(message.server)?.group.thread?.kill(message.reason, message.server);
				}

				break;
			}

			case 'figures': {
				this.#hostRequests.answer(message.id, message.children, group.thread);
				break;
			}

			case 'call_done': {
				this.#hostRequests.answer(message.id, message, group.thread);
				break;
			}

			case 'beat':
			case 'died': {
				break;
			}
		}
	}

	#receiveOfSession(
		group: ManagedGroup,
		message: Extract<FromHost, {type: 'closed' | 'held' | 'connected' | 'session_broken'}>,
	): void {
		switch (message.type) {
			case 'closed': {
				this.#state.wiring.confirmClosed(message.session, group);
				break;
			}

			case 'held': {
				if (this.#state.wiring.peerOf(message.session, group)) {
					this.#state.wiring.confirmHeld(message.session);
				}

				break;
			}

			case 'connected': {
				if (this.#state.wiring.peerOf(message.session, group)) {
					this.#state.wiring.confirmConnected(message.session, message.problem);
				}

				break;
			}

			case 'session_broken': {
				this.#onBroken(group, message);
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
			const peer = this.#state.wiring.peerOf(session, group);
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

	#onStartFailed(managed: ManagedChild, message: string): void {
		if (this.#state.isFirstStart || this.#state.isEnding || managed.group.onTrial) {
			managed.started.reject(new Error(message));
		} else {
			managed.group.thread?.kill(`failed to start: ${message}`, managed.child.name);
		}
	}
}
