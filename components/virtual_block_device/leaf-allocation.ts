/**
 * Which leaves of a tree have content, a bounded part of the tree at a time. A leaf is told as a hole where reading it
 * at the same moment would give zeroes without a look at the medium: both go by the same node.
 */
import type {Vba} from '../sessions/vocabulary.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import {AllocationRuns} from '../lib/format/allocation-runs.js';
import {allocationKinds} from '../sessions/allocation.js';
import type {Device} from './device.js';
import {loadToContent} from './written-count.js';

/** Ways that one part goes down: some milliseconds. */
const wayCountMax = 256;

/**
 * Runs from `first` on, for `count` leaves or as many as were looked at. A block without content is passed over as a
 * whole.
 */
export async function allocationOf(
	device: Device,
	tree: () => HashTree,
	{first, count}: {first: Vba; count: number},
): Promise<number[]> {
	const runs = new AllocationRuns();
	const path: Path = [];
	const end = first + count;
	let vba = first;
	for (let way = 0; way < wayCountMax && vba < end && !runs.isFull; way++) {
		// Asked anew after each wait, as for reads: a rekeying or revert may have put another tree in its place.
		const now = tree();
		const level = await loadToContent(now, vba, path);
		if (level > 0) {
			const length = Math.min(end, now.endOf(vba, level)) - vba;
			runs.add(length, allocationKinds.hole);
			vba += length;
			continue;
		}

		const {degree} = now.geometry;
		const blockEnd = Math.min(end, vba - (vba % degree) + degree);
		for (; vba < blockEnd && !runs.isFull; vba++) {
			runs.add(1, device.isWritten(path[1], vba % degree) ? allocationKinds.data : allocationKinds.hole);
		}
	}

	return runs.pairs;
}
