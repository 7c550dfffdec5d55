/** Requests to hosts and their answers, matched by number. */
import type {ToHost} from '../host/messages.js';
import {Deferred} from './deferred.js';
import type {GroupHost} from './group-host.js';

/** A host that has not answered by then is taken for busy. */
const answerTimeLimitMs = 30_000;

export class HostRequests {
	readonly #open = new Map<number, {thread: GroupHost; answer: Deferred<unknown>}>();
	#lastId = 0;

	/** `undefined` where the thread ends or does not answer in time. */
	async request<T>(
		thread: GroupHost,
		message: (id: number) => ToHost,
		timeLimitMs = answerTimeLimitMs,
	): Promise<T | undefined> {
		const id = ++this.#lastId;
		const answer = new Deferred<unknown>();
		this.#open.set(id, {thread, answer});
		thread.post(message(id));
		const limit = setTimeout(() => {
			answer.resolve(undefined);
		}, timeLimitMs);
		try {
			return (await answer.promise) as T | undefined;
		} finally {
			clearTimeout(limit);
			this.#open.delete(id);
		}
	}

	/** @param from who was asked; nobody else's answer counts */
	answer(id: number, value: unknown, from: GroupHost | undefined): void {
		const request = this.#open.get(id);
		if (request?.thread === from) {
			request?.answer.resolve(value);
		}
	}

	/** The thread is gone: nothing will answer. */
	abandon(gone: GroupHost): void {
		for (const {thread, answer} of this.#open.values()) {
			if (thread === gone) {
				answer.resolve(undefined);
			}
		}
	}
}
