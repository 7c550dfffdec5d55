import test from 'ava';
import {median, ratios, spreadOf} from './statistics.js';

test('the median of odd and even counts', t => {
	t.is(median([9, 1, 5]), 5);
	t.is(median([4, 1, 3, 2]), 2.5);
});

test('ratios are those of the same round', t => {
	t.deepEqual(ratios([10, 40, 90], [10, 20, 30]), {median: 2, min: 1, max: 3});
	t.is(ratios([], [1]), undefined);
});

test('the spread is relative to the median', t => {
	t.is(spreadOf([90, 100, 120]), 0.3);
});
