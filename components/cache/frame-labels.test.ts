import test from 'ava';
import {blockSize, nodeSize} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import {independentRuns, labelInOrder, nodesFit, placeLabels} from './frame-labels.js';

test('nodes lie in the memory', t => {
	t.true(nodesFit([], 1));
	t.true(nodesFit([0, 0, 0, 127, 2, 64], 2));
	t.false(nodesFit([0, 128], 2));
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

test('what is encrypted together depends on no label of the same run', t => {
	t.deepEqual(independentRuns([], []), []);
	t.deepEqual(independentRuns([4, 2], []), [[0, 2]]);
	// Two leaves below frame 7, one below frame 8, both below frame 9; frame 1 stands alone.
	const frames = [1, 2, 3, 4, 7, 8, 9];
	const places = [1, 7 * 64, 2, 7 * 64 + 1, 3, 8 * 64, 4, 9 * 64, 5, 9 * 64 + 63];
	t.deepEqual(independentRuns(frames, places), [
		[0, 4],
		[4, 6],
		[6, 7],
	]);
	// A label that goes to a block of another tree as well.
	t.deepEqual(independentRuns([1, 2, 3], [0, 3 * 64, 0, 2 * 64]), [
		[0, 1],
		[1, 3],
	]);
});

test('labels of a run are put to their places, others are not', t => {
	const memory = new Uint8Array(3 * blockSize);
	const labels = new Uint8Array(96).map((_, i) => i);
	placeLabels(memory, {first: 1, end: 3}, {labels, places: [0, 0, 1, 64, 2, 191]});
	const hashAt = (node: number) => memory.subarray(node * nodeSize + 16, node * nodeSize + 48);
	t.deepEqual(hashAt(0), new Uint8Array(32));
	t.deepEqual(hashAt(64), labels.subarray(32, 64));
	t.deepEqual(hashAt(191), labels.subarray(64));
});
