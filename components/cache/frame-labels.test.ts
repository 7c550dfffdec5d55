import test from 'ava';
import {blockSize, nodeSize} from '../container/geometry.js';
import {labelOf} from '../container/label.js';
import {labelInOrder, placesFit} from './frame-labels.js';

test('places are checked: ascending indexes, nodes in the memory', t => {
	t.true(placesFit([], 0, 1));
	t.true(placesFit([0, 0, 0, 127, 2, 64], 3, 2));
	for (const places of [[1, 0, 0, 0], [3, 0], [-1, 0], [0, -1], [0, 128], [0.5, 0], [0, 0.5], [0], [Number.NaN, 0]]) {
		t.false(placesFit(places, 3, 2), places.join());
	}
});

test('a label stands in its nodes before their block is labelled', t => {
	const memory = new Uint8Array(3 * blockSize).map((_, i) => i % 251);
	const block = (frame: number) => memory.subarray(frame * blockSize, (frame + 1) * blockSize);
	const child = labelOf(block(2));
	const labels = labelInOrder(memory, [2, 0, 1], [0, 3, 0, 64, 1, 65]);
	const hashAt = (node: number) => Buffer.from(memory.subarray(node * nodeSize + 16, node * nodeSize + 48));
	t.deepEqual(hashAt(3), child);
	t.deepEqual(hashAt(64), child);
	t.deepEqual(hashAt(65), labelOf(block(0)));
	t.deepEqual(Buffer.from(labels), Buffer.concat([child, labelOf(block(0)), labelOf(block(1))]));
});
