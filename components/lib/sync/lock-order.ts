/**
 * The order in which locks are taken, and an assertion that it is kept. Whoever holds a lock asks only for those
 * further down in the table, so nobody waits in a circle; what each of them protects stands in docs/locking.md.
 *
 * The assertion is for tests and the simulator: until `watchLockOrder` is called there is no `AsyncLocalStorage`, and a
 * lock costs one comparison more.
 */
import {AsyncLocalStorage} from 'node:async_hooks';

/** From the outermost lock to the innermost. Two with one name, of two components, are never held together. */
export const lockOrder = [
	'byte range',
	'device switch',
	'device access',
	'container',
	'content',
	'starving writers',
	/** No lock, but a wait for a commit that others may have begun. */
	'commit',
	'trees and superblock',
	'request queue',
	'trees',
	'placement',
	'places ahead',
	'pool',
	'cache transfer',
	'crypto keys',
	'anchor secrets',
	'anchor',
	'anchor store',
] as const;

export type LockName = (typeof lockOrder)[number];

interface Hold {
	readonly name: LockName;
	readonly rank: number;
	readonly outer: Hold | undefined;
	isReleased: boolean;
}

/** A lock was asked for by who holds one that comes after it, or the same one. */
export class LockOrderError extends Error {
	override readonly name = 'LockOrderError';
}

export class LockWatch {
	/** What has been found, also where somebody caught the error. */
	readonly violations: string[] = [];
	/** Locks that were asked for by who held another one: what the watch has seen. */
	readonly #pairs = new Map<string, number>();
	readonly #holds = new AsyncLocalStorage<Hold | undefined>();

	/** Pairs of locks that were taken one inside the other, as `outer > inner`, and how often. */
	get pairs(): ReadonlyMap<string, number> {
		return this.#pairs;
	}

	/** Somebody asks for a lock, or waits for who holds it. @throws LockOrderError */
	asked(name: LockName): void {
		const rank = lockOrder.indexOf(name);
		for (let hold = this.#holds.getStore(); hold; hold = hold.outer) {
			if (hold.isReleased) {
				continue;
			}

			if (hold.rank >= rank) {
				const violation = `"${name}" is asked for by who holds "${hold.name}"`;
				this.violations.push(violation);
				throw new LockOrderError(violation);
			}

			const pair = `${hold.name} > ${name}`;
			this.#pairs.set(pair, (this.#pairs.get(pair) ?? 0) + 1);
		}
	}

	/**
	 * Runs a job of who holds a lock. What the job begins and does not wait for counts as the holder until the job has
	 * ended.
	 */
	async holding<T>(name: LockName, job: () => Promise<T> | T): Promise<T> {
		const outer = this.#holds.getStore();
		const hold: Hold = {name, rank: lockOrder.indexOf(name), outer, isReleased: false};
		return this.#holds.run(hold, async () => {
			try {
				return await job();
			} finally {
				hold.isReleased = true;
			}
		});
	}

	/** Runs what nobody who holds a lock waits for. */
	apart<T>(job: () => T): T {
		return this.#holds.run(undefined, job);
	}
}

/** Undefined where nobody watches, as in the product. */
export let lockWatch: LockWatch | undefined;

/** From now on every lock of this thread is watched. */
export function watchLockOrder(): LockWatch {
	lockWatch ??= new LockWatch();
	return lockWatch;
}
