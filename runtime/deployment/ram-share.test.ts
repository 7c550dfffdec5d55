import test from 'ava';
import {bufferShare, heapLimits, heapShare} from './ram-share.js';

const mebibyte = 2 ** 20;

test('a quantum is heap and payload memory, nothing else', t => {
	for (const quantum of [32, 64, 128, 200, 1024].map(size => size * mebibyte)) {
		t.is(heapShare(quantum) + bufferShare(quantum), quantum);
	}

	t.is(heapShare(32 * mebibyte), 24 * mebibyte);
	t.is(heapShare(60 * mebibyte), 30 * mebibyte);
	t.is(heapShare(1024 * mebibyte), 64 * mebibyte);
});

test('children on one thread share their heaps', t => {
	t.deepEqual(heapLimits([64 * mebibyte, 32 * mebibyte]), {maxYoungGenerationSizeMb: 14, maxOldGenerationSizeMb: 42});
});
