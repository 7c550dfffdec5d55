import test from 'ava';
import {growths} from './growth.js';

const mebibyte = 2 ** 20;
const series = (...values: number[]) =>
	values.map((value, index) => ({seconds: index, bytes: {nbd: value * mebibyte, cache: 50 * mebibyte}}));

test('what has found its size does not grow, however it came there', t => {
	t.deepEqual(growths(series(10, 30, 50, 80, 90, 95, 99, 100, 101, 99, 100, 102, 100, 101, 99, 100)), []);
});

test('what goes on growing is named with its figures', t => {
	t.deepEqual(growths(series(...Array.from({length: 16}, (_, index) => 100 + 10 * index))), [
		{name: 'nbd', from: 200 * mebibyte, to: 240 * mebibyte},
	]);
});

test('garbage that comes and goes is no growth, and few samples say nothing', t => {
	t.deepEqual(growths(series(...Array.from({length: 40}, (_, index) => 50 + (index % 5) * 6))), []);
	t.deepEqual(growths(series(1, 50, 100, 200)), []);
});
