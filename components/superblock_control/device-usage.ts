/**
 * How full the pool of spare blocks is. What writes replace comes back with the next superblock; only what snapshots
 * hold can run out, so that is what is watched, and what a forecast goes by. A count costs what has changed in the
 * pool, so it is kept until something may have changed.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import type {Commit} from './commit.js';
import {keptSnapshots, setAsideCount} from './transition.js';

export interface PoolUsage {
	readonly leafCount: number;
	readonly allocatableCount: number;
	readonly heldCount: number;
}

/** Who has the pool, and who takes from it ahead and books later. */
export interface PoolServers {
	readonly free_tree: Client<typeof freeTree>;
	readonly virtual_block_device: Client<typeof virtualBlockDevice>;
}

interface Sample {
	readonly atMs: number;
	/** Blocks that no snapshot holds. */
	readonly freeCount: number;
}

/** The watch counts at most this often … */
const watchIntervalMs = 1000;
/** … and not more often than every this many times as long as a count takes. */
const watchCostFactor = 100;

/** The watch counts after writes of this part of the pool, too: not every flush secures a superblock. */
const watchedPart = 1 / 64;

/** A warning is logged below this part of the pool that is left for data … */
const lowPart = 1 / 10;
/** … and the next one only after more than this part was there again. */
const recoveredPart = 1 / 8;

/** The rate at which the pool gets emptier is taken from this last time. */
const rateSpanMs = 10 * 60_000;
const sampleCountMax = 64;

export class DeviceUsage {
	readonly #servers: PoolServers;
	readonly #commit: Commit;
	readonly #env: Environment;
	#counted:
		{readonly durableCount: number; readonly writtenCount: number; readonly usage: Promise<PoolUsage>} | undefined;
	/** Blocks written since the device was opened … */
	#writtenCount = 0;
	/** … and when the watch counted last. */
	#watchedCount = 0;
	#samples: Sample[] = [];
	#nextWatchMs: number;
	#warned = false;
	#last: PoolUsage = {leafCount: 0, allocatableCount: 0, heldCount: 0};

	constructor(servers: PoolServers, commit: Commit, env: Environment) {
		this.#servers = servers;
		this.#commit = commit;
		this.#env = env;
		this.#nextWatchMs = env.now() + watchIntervalMs;
	}

	/** The pool as it was counted last; all zero where it never was. */
	get last(): PoolUsage {
		return this.#last;
	}

	/** The pool as it now is. */
	async pool(): Promise<PoolUsage> {
		const {durableCount} = this.#commit;
		const writtenCount = this.#writtenCount;
		if (this.#counted?.durableCount !== durableCount || this.#counted.writtenCount !== writtenCount) {
			this.#counted = {durableCount, writtenCount, usage: this.#count()};
		}

		return this.#counted.usage;
	}

	/**
	 * When snapshots will hold the whole pool if it goes on as of late; undefined where they do not hold more and more.
	 */
	get secondsLeft(): number | undefined {
		const nowMs = this.#env.now();
		const recent = this.#samples.filter(({atMs}) => atMs >= nowMs - rateSpanMs);
		const first = recent.at(0);
		const last = recent.at(-1);
		if (!first || !last || last.freeCount >= first.freeCount) {
			return undefined;
		}

		// Up to now: where nothing is written any more the pool lasts longer and longer.
		const perMs = (first.freeCount - last.freeCount) / (nowMs - first.atMs);
		return Math.round(Math.max(0, last.freeCount - setAsideCount(this.#commit.superblock)) / perMs / 1000);
	}

	/** Blocks were written. Waits for nothing. */
	noteWritten(blockCount: number): void {
		this.#writtenCount += blockCount;
		const {superblock} = this.#commit;
		if (this.#writtenCount - this.#watchedCount < watchedPart * superblock.freeTree.leafCount) {
			return;
		} else if (keptSnapshots(superblock).length > 0) {
			this.#watch();
		}

		this.#watchedCount = this.#writtenCount;
	}

	/** Called after a checkpoint: looks at the pool when it is time to. Waits for nothing. */
	noteSecured(): void {
		this.#watch();
	}

	#watch(): void {
		if (this.#env.now() < this.#nextWatchMs) {
			return;
		}
		this.#nextWatchMs = Infinity;
		const startedMs = this.#env.now();
		// A count that fails says nothing about the pool; whoever needs the free tree next meets the same failure.
		void this.pool()
			.catch(() => undefined)
			.then(() => {
				const now = this.#env.now();
				this.#nextWatchMs = now + Math.max(watchIntervalMs, (now - startedMs) * watchCostFactor);
			});
	}

	/** Called where the pool had nothing to hand out: looks at it now. Waits for nothing. */
	noteShortage(): void {
		this.pool().catch(() => undefined);
	}

	async #count(): Promise<PoolUsage> {
		try {
			await this.#servers.virtual_block_device.book({});
			const usage = await this.#servers.free_tree.usage({});
			this.#last = usage;
			this.#remember(usage);
			this.#warn(usage);
			return usage;
		} catch (error) {
			this.#counted = undefined;
			throw error;
		}
	}

	#remember({leafCount, heldCount}: PoolUsage): void {
		const atMs = this.#env.now();
		const recent = this.#samples.filter(sample => sample.atMs < atMs && sample.atMs >= atMs - rateSpanMs);
		this.#samples = [...recent.slice(1 - sampleCountMax), {atMs, freeCount: leafCount - heldCount}];
	}

	#warn({leafCount, heldCount}: PoolUsage): void {
		const left = Math.max(0, leafCount - heldCount - setAsideCount(this.#commit.superblock));
		const part = left / leafCount;
		if (part > recoveredPart) {
			this.#warned = false;
		} else if (part < lowPart && !this.#warned && heldCount > 0) {
			this.#warned = true;
			this.#env.log(
				`spare blocks run low: ${left} of ${leafCount} are left for data, snapshots hold ${heldCount}; discard a snapshot, or add spare blocks with "runtime extend ft SIZE"`,
				'warning',
			);
		}
	}
}
