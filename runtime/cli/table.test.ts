import test from 'ava';
import {fitTable, fitText, wrapText} from './table.js';

const header = ['NAME', 'DETAIL', 'COUNT'];
const rows = [
	['a', 'x'.repeat(30), '1'],
	['bb', 'y', '22'],
];

test('a table that fits is shown as it is', t => {
	const {lines, isComplete} = fitTable(header, rows, 100, ['DETAIL']);
	t.true(isComplete);
	t.deepEqual(lines, [
		`NAME  DETAIL${' '.repeat(26)}COUNT`,
		`a     ${'x'.repeat(30)}  1`,
		`bb    y${' '.repeat(31)}22`,
	]);
});

test('columns go in their order until it fits, and no line is wider, whatever is in it', t => {
	t.deepEqual(fitTable(header, rows, 20, ['DETAIL', 'COUNT']), {
		lines: ['NAME  COUNT', 'a     1', 'bb    22'],
		isComplete: false,
	});
	const {lines} = fitTable(header, [['n'.repeat(64), 'd', '1']], 20, ['DETAIL', 'COUNT']);
	t.true(lines.every(line => line.length <= 20));
	t.is(lines[1], `${'n'.repeat(19)}…`);
});

test('a text is cut where it does not fit', t => {
	t.is(fitText('abc', 3), 'abc');
	t.is(fitText('abcd', 3), 'ab…');
});

test('a sentence is broken between words', t => {
	t.deepEqual(wrapText('one two three', 7), ['one two', 'three']);
	t.deepEqual(wrapText('a verylongword b', 6), ['a', 'verylongword', 'b']);
});
