/**
 * Many hold it together, or one exclusive job holds it alone. An exclusive job that waits keeps newcomers out.
 *
 * The shared half is taken and given back by hand, since requests take it: a closure for each would cost more than the
 * lock. Who does so runs what it does meanwhile by `lockWatch.holding` where there is a watch.
 */
import {lockWatch, type LockName} from './lock-order.js';

export class ReadWriteLock {
	readonly #name: LockName;
	#sharedCount = 0;
	#exclusive: Promise<void> | undefined;
	#endExclusive: (() => void) | undefined;
	#onReleased: (() => void) | undefined;

	constructor(name: LockName) {
		this.#name = name;
	}

	/** True where an exclusive holder has it, or waits for it. */
	get isClosed(): boolean {
		return this.#exclusive !== undefined;
	}

	/** Takes it at once; false where an exclusive job runs or waits. */
	tryLockShared(): boolean {
		lockWatch?.asked(this.#name);
		if (this.#exclusive) {
			return false;
		}

		this.#sharedCount++;
		return true;
	}

	async lockShared(): Promise<void> {
		lockWatch?.asked(this.#name);
		while (this.#exclusive) {
			await this.#exclusive;
		}

		this.#sharedCount++;
	}

	unlockShared(): void {
		this.#sharedCount--;
		if (this.#sharedCount === 0) {
			this.#onReleased?.();
		}
	}

	/** Resolves when all who share it have released it; newcomers are kept out from the call on. */
	async lockExclusive(): Promise<void> {
		lockWatch?.asked(this.#name);
		while (this.#exclusive) {
			await this.#exclusive;
		}

		this.#close();
		if (this.#sharedCount > 0) {
			await new Promise<void>(resolve => {
				this.#onReleased = resolve;
			});
			this.#onReleased = undefined;
		}
	}

	unlockExclusive(): void {
		this.#exclusive = undefined;
		this.#endExclusive?.();
	}

	/** Runs `job` when all who share it have released it, with no other holder. */
	async exclusively<T>(job: () => Promise<T>): Promise<T> {
		if (this.#exclusive || this.#sharedCount > 0) {
			await this.lockExclusive();
		} else {
			lockWatch?.asked(this.#name);
			this.#close();
		}

		try {
			return await (lockWatch ? lockWatch.holding(this.#name, job) : job());
		} finally {
			this.unlockExclusive();
		}
	}

	#close(): void {
		this.#exclusive = new Promise(resolve => {
			this.#endExclusive = resolve;
		});
	}
}
