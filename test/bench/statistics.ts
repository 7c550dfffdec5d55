/** Medians and spreads: rounds are few and outliers many, so no means. */

/** The median of a list, NaN of an empty one. */
export function median(values: readonly number[]): number {
	const sorted = [...values].sort((a, b) => a - b);
	const middle = Math.floor(sorted.length / 2);
	return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export interface Summary {
	readonly median: number;
	readonly min: number;
	readonly max: number;
}

export function summarize(values: readonly number[]): Summary {
	return {median: median(values), min: Math.min(...values), max: Math.max(...values)};
}

/**
 * Ratios of the same round, since neighbours in time share the machine's mood. Rounds that either side lacks are left
 * out.
 */
export function ratios(ours: readonly number[], theirs: readonly number[]): Summary | undefined {
	const count = Math.min(ours.length, theirs.length);
	const values = Array.from({length: count}, (_, round) => ours[round] / theirs[round]).filter(Number.isFinite);
	return values.length > 0 ? summarize(values) : undefined;
}

/** How far the values lie apart, as a part of their median. */
export function spreadOf(values: readonly number[]): number {
	const {median: middle, min, max} = summarize(values);
	return (max - min) / middle;
}
