/**
 * Finds what has content in a range of the current tree. What was never written is skipped whole, so that it costs
 * nothing.
 */
import type {Vba} from '../sessions/vocabulary.js';
import type {Path} from '../lib/tree/hash-tree.js';
import type {Device} from './device.js';

/** Lowest blocks that are looked at before others get their turn: some milliseconds. */
const blockCountMax = 4096;

/** The first leaf in [vba, end) with content; where there is none before `vba`, only that much is known. */
export interface WrittenPart {
	readonly vba: Vba;
	readonly isWritten: boolean;
}

/** Looks for content from `vba` up to `end`, at a bounded part of it. Requests go on meanwhile. */
export async function findWritten(device: Device, vba: Vba, end: Vba): Promise<WrittenPart> {
	const path: Path = [];
	let leaf = vba;
	for (let looked = 0; looked < blockCountMax && leaf < end; looked++) {
		const {tree} = device;
		const level = await tree.loadWritten(leaf, path);
		const blockEnd = Math.min(end, tree.endOf(leaf, Math.max(1, level)));
		if (level > 0) {
			leaf = blockEnd;
			continue;
		}

		for (; leaf < blockEnd; leaf++) {
			if (device.isWritten(path[1], leaf % tree.geometry.degree)) {
				return {vba: leaf, isWritten: true};
			}
		}
	}

	return {vba: Math.min(leaf, end), isWritten: false};
}
