/** What is known of blocks without reading them: the same words for a device and for its snapshots. */
import {z} from 'zod';
import {vector} from '../../runtime/sdk/session.js';

export const allocationKinds = {
	/** The blocks may hold data. */
	data: 0,
	/** The blocks were never written or have been cleared: they read as zeroes and take no room. */
	hole: 1,
} as const;

/** Most runs in one reply. */
export const allocationRunCountMax = 1024;

/** `count` blocks from `first` on. */
export const allocationRange = {first: z.number().int().nonnegative(), count: z.number().int().positive()};

/**
 * Pairs of a number of blocks and their kind, flat, from the range's first block on. They cover the range, or as much
 * of its beginning as a bounded effort could tell, and at least one block.
 */
export const AllocationReply = z.strictObject({runs: vector()});

export function allocationRangeFault({
	first,
	count,
}: {
	readonly first: number;
	readonly count: number;
}): string | undefined {
	return Number.isSafeInteger(first + count) ? undefined : `${first}+${count} is no range of blocks`;
}

export function allocationFault(
	{runs}: {readonly runs: readonly number[]},
	{count}: {readonly count: number},
): string | undefined {
	if (runs.length === 0 || runs.length % 2 !== 0 || runs.length > 2 * allocationRunCountMax) {
		return `runs are up to ${allocationRunCountMax} pairs of a number of blocks and their kind`;
	}

	let covered = 0;
	for (let i = 0; i < runs.length; i += 2) {
		if (runs[i] < 1 || runs[i + 1] > allocationKinds.hole) {
			return `${runs[i]} blocks of kind ${runs[i + 1]} are no run`;
		}

		covered += runs[i];
	}

	return covered <= count ? undefined : `runs of ${covered} blocks for a range of ${count}`;
}
