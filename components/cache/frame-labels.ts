/** Labels of blocks about to be stored, put into the nodes of their parents, which are labelled after them. */
import type {Frame} from '../sessions/vocabulary.js';
import {blockSize, nodesPerBlock} from '../lib/format/geometry.js';
import {labelLength, labelOf} from '../lib/format/label.js';
import {NodeBlocks} from '../lib/format/node-blocks.js';

/** True where the nodes of `places` (pairs of an index and a node) lie in one of `frameCount` frames. */
export function nodesFit(places: readonly number[], frameCount: number): boolean {
	for (let i = 1; i < places.length; i += 2) {
		if (places[i] >= frameCount * nodesPerBlock) {
			return false;
		}
	}

	return true;
}

/**
 * Cuts frames into runs, as pairs of first index and end, within which no label goes into a later frame: all frames of
 * a run can be encrypted and labelled at once.
 */
export function independentRuns(
	frames: readonly Frame[],
	places: readonly number[],
): Array<readonly [first: number, end: number]> {
	const runs: Array<readonly [number, number]> = [];
	const waiting = new Set<Frame>();
	let first = 0;
	let at = 0;
	for (const [index, frame] of frames.entries()) {
		if (waiting.has(frame)) {
			runs.push([first, index]);
			first = index;
			waiting.clear();
		}

		for (; places[at] === index; at += 2) {
			waiting.add(Math.floor(places[at + 1] / nodesPerBlock));
		}
	}

	return frames.length > 0 ? [...runs, [first, frames.length]] : runs;
}

/** Puts the labels of the frames from `first` up to `end` to their places. */
export function placeLabels(
	memory: Uint8Array,
	{first, end}: {first: number; end: number},
	{labels, places}: {labels: Uint8Array; places: readonly number[]},
): void {
	const nodes = new NodeBlocks(memory);
	for (let at = 0; at < places.length; at += 2) {
		const index = places[at];
		if (index >= first && index < end) {
			nodes.setHash(
				Math.floor(places[at + 1] / nodesPerBlock),
				places[at + 1] % nodesPerBlock,
				labels,
				index * labelLength,
			);
		}
	}
}

/** Labels frames in their order, puts each label to its places at once, and returns all labels, 32 bytes each. */
export function labelInOrder(memory: Uint8Array, frames: readonly Frame[], places: readonly number[]): Uint8Array {
	const nodes = new NodeBlocks(memory);
	const labels = new Uint8Array(frames.length * labelLength);
	let at = 0;
	for (const [index, frame] of frames.entries()) {
		labels.set(labelOf(memory.subarray(frame * blockSize, (frame + 1) * blockSize)), index * labelLength);
		for (; places[at] === index; at += 2) {
			nodes.setHash(
				Math.floor(places[at + 1] / nodesPerBlock),
				places[at + 1] % nodesPerBlock,
				labels,
				index * labelLength,
			);
		}
	}

	return labels;
}
