/**
 * How full the pool of spare blocks is. A count costs what has changed in the pool, so it is kept until the next securing,
 * and the watch for a pool that runs dry counts only now and then.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {Securing} from './securing.js';

export interface PoolUsage {
	readonly leafCount: number;
	readonly allocatableCount: number;
	readonly heldCount: number;
}

interface Sample {
	readonly atMs: number;
	readonly allocatableCount: number;
}

/** The watch counts at most this often … */
const watchIntervalMs = 1000;
/** … and not more often than every this many times as long as a count takes. */
const watchCostFactor = 100;

/** A warning is logged below this part of the pool … */
const lowPart = 1 / 10;
/** … and the next one only after more than this part was there again. */
const recoveredPart = 1 / 8;

/** The rate at which the pool gets emptier is taken from this last time. */
const rateSpanMs = 10 * 60_000;
const sampleCountMax = 64;

export class DeviceUsage {
	readonly #freeTree: Client<typeof freeTree>;
	readonly #securing: Securing;
	readonly #env: Environment;
	#counted: {readonly durableCount: number; readonly usage: Promise<PoolUsage>} | undefined;
	#samples: Sample[] = [];
	#nextWatchMs: number;
	#warned = false;
	#last: PoolUsage = {leafCount: 0, allocatableCount: 0, heldCount: 0};

	constructor(servers: {readonly free_tree: Client<typeof freeTree>}, securing: Securing, env: Environment) {
		this.#freeTree = servers.free_tree;
		this.#securing = securing;
		this.#env = env;
		this.#nextWatchMs = env.now() + watchIntervalMs;
	}

	/** The pool as it was counted last; all zero where it never was. */
	get last(): PoolUsage {
		return this.#last;
	}

	/** The pool as it was counted after the last securing. */
	async pool(): Promise<PoolUsage> {
		const {durableCount} = this.#securing;
		if (this.#counted?.durableCount !== durableCount) {
			this.#counted = {durableCount, usage: this.#count()};
		}

		return this.#counted.usage;
	}

	/** When the pool will be empty if it goes on as of late; undefined where it does not get emptier. */
	get secondsLeft(): number | undefined {
		const first = this.#samples.at(0);
		const last = this.#samples.at(-1);
		if (!first || !last || last.allocatableCount >= first.allocatableCount) {
			return undefined;
		}

		const perMs = (first.allocatableCount - last.allocatableCount) / (last.atMs - first.atMs);
		return Math.round(last.allocatableCount / perMs / 1000);
	}

	/** Called after a securing: looks at the pool when it is time to. Waits for nothing. */
	noteSecured(): void {
		if (this.#env.now() < this.#nextWatchMs) {
			return;
		}

		this.#nextWatchMs = Infinity;
		const startedMs = this.#env.now();
		// A count that fails says nothing about the pool; whoever needs the free tree next meets the same failure.
		void this.pool().catch(() => undefined).then(() => {
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
			const usage = await this.#freeTree.usage({});
			this.#last = usage;
			this.#remember(usage);
			this.#warn(usage);
			return usage;
		} catch (error) {
			this.#counted = undefined;
			throw error;
		}
	}

	#remember({allocatableCount}: PoolUsage): void {
		const atMs = this.#env.now();
		const recent = this.#samples.filter(sample => sample.atMs < atMs && sample.atMs >= atMs - rateSpanMs);
		this.#samples = [...recent.slice(1 - sampleCountMax), {atMs, allocatableCount}];
	}

	#warn({leafCount, allocatableCount, heldCount}: PoolUsage): void {
		const part = allocatableCount / leafCount;
		if (part > recoveredPart) {
			this.#warned = false;
		} else if (part < lowPart && !this.#warned) {
			this.#warned = true;
			this.#env.log(`spare blocks run low: ${allocatableCount} of ${leafCount} are left, snapshots hold ${heldCount}; discard a snapshot, or add spare blocks with "runtime extend ft SIZE"`, 'warning');
		}
	}
}
