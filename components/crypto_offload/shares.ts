/** How much of the waiting work goes to pool threads. */

/**
 * Handing a task over and getting its result back takes about as long as working on this many blocks (some 70 µs): the
 * component's own thread gets as many more, so that all are done at the same time.
 */
const handOffBlockCount = 16;
/** A smaller share is not worth a hand-off. */
const shareBlockCountMin = 16;
/** A larger share is not given at once: others wait meanwhile, and who is done first can take more. 1 MiB. */
const shareBlockCountMax = 256;

export interface Shares {
	/** Blocks for the component's own thread. */
	readonly own: number;
	/** Pool threads that get something … */
	readonly helperCount: number;
	/** … and how many blocks each. */
	readonly each: number;
}

/** Divides what waits among this thread and those that are idle. What is over waits for the next round. */
export function sharesOf(waitingBlockCount: number, idleCount: number): Shares {
	const worth = Math.floor((waitingBlockCount - handOffBlockCount) / shareBlockCountMin) - 1;
	const helperCount = Math.max(0, Math.min(idleCount, worth));
	if (helperCount === 0) {
		return {own: Math.min(waitingBlockCount, shareBlockCountMax), helperCount, each: 0};
	}

	const each = Math.min(shareBlockCountMax, Math.floor((waitingBlockCount - handOffBlockCount) / (helperCount + 1)));
	return {own: Math.min(waitingBlockCount - helperCount * each, shareBlockCountMax), helperCount, each};
}
