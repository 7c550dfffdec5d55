/** Tables that are used again. */
import {capacityFor, makeTableMemory, JobTable} from './job-table.js';

/** Tables of one size that are kept while nobody uses them. */
const keptCountMax = 4;

/**
 * A table for batches up to a size, and how many may still look at it: the job, and each thread that was asked to help.
 */
export class PooledTable {
	readonly capacity: number;
	readonly memory: Uint8Array;
	userCount = 0;

	constructor(capacity: number) {
		this.capacity = capacity;
		this.memory = makeTableMemory(capacity);
	}

	viewFor(blockCount: number): JobTable {
		return new JobTable(this.memory, this.capacity, blockCount);
	}
}

export class JobTablePool {
	readonly #free = new Map<number, PooledTable[]>();

	/** A table that nobody else uses, for a batch of this size. */
	take(blockCount: number): PooledTable {
		const capacity = capacityFor(blockCount);
		const table = this.#free.get(capacity)?.pop() ?? new PooledTable(capacity);
		table.userCount = 1;
		return table;
	}

	/** One of its users does not look at it any more. */
	giveBack(table: PooledTable): void {
		table.userCount--;
		if (table.userCount > 0) {
			return;
		}

		const free = this.#free.get(table.capacity) ?? [];
		this.#free.set(table.capacity, free);
		if (free.length < keptCountMax) {
			free.push(table);
		}
	}
}
