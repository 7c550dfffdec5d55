/**
 * Keeps writes of parts of a block apart from every other write of that block. A partial write reads the block, changes
 * its part and writes it back; a write in between would be undone. Whole-block writes do not wait for each other.
 */
import {lockWatch} from './lock-order.js';

interface Holder {
	readonly first: number;
	readonly end: number;
	readonly partial: boolean;
	/** Holders that came earlier and stand in the way. */
	waitCount: number;
	/** Later holders that wait for this one. */
	followers: Holder[] | undefined;
	proceed: (() => void) | undefined;
}

export type {Holder as LockedRange};

export class RangeLock {
	readonly #holders = new Set<Holder>();
	#partialCount = 0;

	/** Takes the blocks from `first` up to `end`; what came earlier goes first, so nobody waits in a circle. */
	take(first: number, end: number, partial: boolean): Holder {
		lockWatch?.asked('byte range');
		const holder: Holder = {first, end, partial, waitCount: 0, followers: undefined, proceed: undefined};
		if (partial || this.#partialCount > 0) {
			this.#queueBehindConflicts(holder);
		}

		this.#partialCount += partial ? 1 : 0;
		this.#holders.add(holder);
		return holder;
	}

	/** Resolves when nothing stands in the way any more; a holder whose `waitCount` is 0 need not ask. */
	async ready(holder: Holder): Promise<void> {
		if (holder.waitCount > 0) {
			await new Promise<void>(resolve => {
				holder.proceed = resolve;
			});
		}
	}

	release(holder: Holder): void {
		this.#holders.delete(holder);
		this.#partialCount -= holder.partial ? 1 : 0;
		for (const follower of holder.followers ?? []) {
			follower.waitCount--;
			if (follower.waitCount === 0) {
				follower.proceed?.();
			}
		}
	}

	#queueBehindConflicts(holder: Holder): void {
		for (const earlier of this.#holders) {
			if ((holder.partial || earlier.partial) && earlier.first < holder.end && holder.first < earlier.end) {
				earlier.followers ??= [];
				earlier.followers.push(holder);
				holder.waitCount++;
			}
		}
	}
}
