/** Labels of blocks about to be stored, put into the nodes of their parents, which are labelled after them. */
import type {Frame} from '../container/addresses.js';
import {blockSize, nodesPerBlock} from '../container/geometry.js';
import {labelLength, labelOf} from '../container/label.js';
import {NodeBlocks} from '../container/node-blocks.js';

/** True where `places` are pairs of an index below `count`, ascending, and a node in one of `frameCount` frames. */
export function placesFit(places: readonly number[], count: number, frameCount: number): boolean {
	let least = 0;
	for (let i = 0; i < places.length; i += 2) {
		const index = places[i];
		const node = places[i + 1];
		if (!(Number.isInteger(index) && index >= least && index < count && Number.isInteger(node) && node >= 0 && node < frameCount * nodesPerBlock)) {
			return false;
		}

		least = index;
	}

	return true;
}

/** Labels frames in their order, puts each label to its places at once, and returns all labels, 32 bytes each. */
export function labelInOrder(memory: Uint8Array, frames: readonly Frame[], places: readonly number[]): Uint8Array {
	const nodes = new NodeBlocks(memory);
	const labels = new Uint8Array(frames.length * labelLength);
	let at = 0;
	for (const [index, frame] of frames.entries()) {
		labels.set(labelOf(memory.subarray(frame * blockSize, (frame + 1) * blockSize)), index * labelLength);
		for (; places[at] === index; at += 2) {
			nodes.setHash(Math.floor(places[at + 1] / nodesPerBlock), places[at + 1] % nodesPerBlock, labels, index * labelLength);
		}
	}

	return labels;
}
