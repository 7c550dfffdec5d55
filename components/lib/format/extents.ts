/** Extents: flat pairs (first block, number of blocks), as the `block` session takes them. */

/** Merges the addresses of single blocks, in their order, into extents. */
export function extentsOf(addresses: readonly number[]): number[] {
	const extents: number[] = [];
	for (const address of addresses) {
		const last = extents.length - 2;
		if (last >= 0 && extents[last] + extents[last + 1] === address) {
			extents[last + 1]++;
		} else {
			extents.push(address, 1);
		}
	}

	return extents;
}

/**
 * Number of blocks in extents that lie below `blockCount`, or undefined where they are malformed or reach beyond it.
 */
export function extentsBlockCount(extents: readonly number[], blockCount: number): number | undefined {
	let total = 0;
	for (let i = 0; i < extents.length; i += 2) {
		const first = extents[i];
		const count = extents[i + 1];
		if (
			!Number.isInteger(first) ||
			!Number.isInteger(count) ||
			first < 0 ||
			count < 1 ||
			first + count > blockCount
		) {
			return undefined;
		}

		total += count;
	}

	return total;
}
