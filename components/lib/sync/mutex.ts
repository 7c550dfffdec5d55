/** Mutual exclusion between asynchronous jobs: they run one after another, in the order of their calls. */
import {lockWatch, type LockName} from './lock-order.js';

export class Mutex {
	readonly #name: LockName;
	#last: Promise<unknown> = Promise.resolve();
	#count = 0;

	constructor(name: LockName) {
		this.#name = name;
	}

	run<T>(job: () => Promise<T>): Promise<T> {
		return lockWatch ? this.#runWatched(job) : this.#run(job);
	}

	/** Resolves when it is taken, to what gives it back. */
	lock(): Promise<() => void> {
		return new Promise((resolve, reject) => {
			this.run(
				() =>
					new Promise<void>(unlock => {
						resolve(unlock);
					}),
			).catch(reject);
		});
	}

	/** True where no job runs or waits. */
	get isIdle(): boolean {
		return this.#count === 0;
	}

	/** Resolves when every job taken so far has ended. */
	async idle(): Promise<void> {
		lockWatch?.asked(this.#name);
		await this.#last;
	}

	#run<T>(job: () => Promise<T>): Promise<T> {
		this.#count++;
		const result = this.#last.then(job);
		const ended = () => {
			this.#count--;
		};

		// The next job starts whatever becomes of this one; its caller sees the failure.
		this.#last = result.then(ended, ended);
		return result;
	}

	async #runWatched<T>(job: () => Promise<T>): Promise<T> {
		lockWatch!.asked(this.#name);
		return this.#run(async () => lockWatch!.holding(this.#name, job));
	}
}
