/** Sheets that are used again. */
import {capacityFor, makeSheetMemory, WorkSheet} from './work-sheet.js';

/** Sheets of one size that are kept while nobody uses them. */
const keptCountMax = 4;

/**
 * A sheet for batches up to a size, and how many may still look at it: the job, and each thread that was asked to help.
 */
export class StoredSheet {
	readonly capacity: number;
	readonly memory: Uint8Array;
	userCount = 0;

	constructor(capacity: number) {
		this.capacity = capacity;
		this.memory = makeSheetMemory(capacity);
	}

	viewFor(blockCount: number): WorkSheet {
		return new WorkSheet(this.memory, this.capacity, blockCount);
	}
}

export class SheetStore {
	readonly #free = new Map<number, StoredSheet[]>();

	/** A sheet that nobody else uses, for a batch of this size. */
	take(blockCount: number): StoredSheet {
		const capacity = capacityFor(blockCount);
		const sheet = this.#free.get(capacity)?.pop() ?? new StoredSheet(capacity);
		sheet.userCount = 1;
		return sheet;
	}

	/** One of its users does not look at it any more. */
	giveBack(sheet: StoredSheet): void {
		sheet.userCount--;
		if (sheet.userCount > 0) {
			return;
		}

		const free = this.#free.get(sheet.capacity) ?? [];
		this.#free.set(sheet.capacity, free);
		if (free.length < keptCountMax) {
			free.push(sheet);
		}
	}
}
