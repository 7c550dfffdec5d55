/** Runs of blocks as a reply about allocation lists them. */
import {allocationRunCountMax} from '../../sessions/allocation.js';

/** Collects runs, neighbours of one kind joined. */
export class AllocationRuns {
	/** Pairs of a length and a kind. */
	readonly pairs: number[] = [];

	get isFull(): boolean {
		return this.pairs.length >= 2 * allocationRunCountMax;
	}

	add(length: number, kind: number): void {
		if (this.pairs.at(-1) === kind) {
			this.pairs[this.pairs.length - 2] += length;
		} else {
			this.pairs.push(length, kind);
		}
	}
}
