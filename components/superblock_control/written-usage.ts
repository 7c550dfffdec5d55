/**
 * How much of the device was ever written, and how much of that snapshots share. Counting goes through the whole tree,
 * part by part beside the requests; it begins when somebody asks, and not again before it is worth its cost.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import type {Commit} from './commit.js';
import {keptGenerations} from './transition.js';

export interface WrittenUsage {
	readonly usedBlockCount: number;
	/** Of these, blocks that snapshots have as well. */
	readonly sharedBlockCount: number;
}

/** Who asks waits this long for a count that is going on; then the last one has to do. */
const patienceMs = 1000;

/** While a newer count goes on, one that is older than this says nothing. */
const staleMsMax = 60_000;

/** A count is not repeated before this many times its duration have passed. */
const costFactor = 20;

/** After a part, pause this many times as long as it took. */
const yieldFactor = 1;

export class WrittenUsageCount {
	readonly #device: Client<typeof virtualBlockDevice>;
	readonly #commit: Commit;
	readonly #env: Environment;
	#last: WrittenUsage | undefined;
	/** The state that was counted last. */
	#countedAt = -1;
	#countedMs = 0;
	#nextMs = 0;
	#running: Promise<void> | undefined;

	constructor(device: Client<typeof virtualBlockDevice>, commit: Commit, env: Environment) {
		this.#device = device;
		this.#commit = commit;
		this.#env = env;
	}

	/** The last count; undefined where there is none. */
	get last(): WrittenUsage | undefined {
		return this.#last;
	}

	/** The count as of late; undefined while the first one is going on. */
	async get(): Promise<WrittenUsage | undefined> {
		if (this.#countedAt !== this.#commit.durableCount && this.#env.now() >= this.#nextMs) {
			this.#running ??= this.#count().finally(() => {
				this.#running = undefined;
			});
		}

		if (this.#running) {
			await Promise.race([this.#running, this.#env.sleep(patienceMs)]);
		}

		return this.#countedAt === this.#commit.durableCount || this.#tellsOfLater ? this.#last : undefined;
	}

	/**
	 * True where the last count says something of a later state, too: it is of late, and not of a device that had
	 * nothing on it.
	 */
	get #tellsOfLater(): boolean {
		return (
			this.#last !== undefined &&
			this.#last.usedBlockCount > 0 &&
			(this.#running === undefined || this.#env.now() - this.#countedMs <= staleMsMax)
		);
	}

	async #count(): Promise<void> {
		const {durableCount, superblock} = this.#commit;
		const newestKeptGeneration = Math.max(0, ...keptGenerations(superblock));
		const startedMs = this.#env.now();
		let usedBlockCount = 0;
		let sharedBlockCount = 0;
		let firstVba: number | null = 0;
		try {
			while (firstVba !== null) {
				const partMs = this.#env.now();
				const {
					usedCount,
					sharedCount,
					nextVba,
				}: {usedCount: number; sharedCount: number; nextVba: number | null} = await this.#device.count_written({
					firstVba,
					newestKeptGeneration,
				});
				usedBlockCount += usedCount;
				sharedBlockCount += sharedCount;
				firstVba = nextVba;
				await this.#env.sleep(yieldFactor * (this.#env.now() - partMs));
			}

			this.#last = {usedBlockCount, sharedBlockCount};
			this.#countedAt = durableCount;
			this.#countedMs = startedMs;
		} catch {
			// Whoever needs the damaged part next meets the same failure; here it only means that nothing can be said.
			this.#last = undefined;
		}

		this.#nextMs = this.#env.now() + costFactor * (this.#env.now() - startedMs);
	}
}
