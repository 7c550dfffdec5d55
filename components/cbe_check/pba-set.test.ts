import test from 'ava';
import {PbaSet} from './pba-set.js';

test('ranges of a set and of what is missing, over byte borders', t => {
	const set = new PbaSet(1000);
	for (const address of [8, 9, 15, 16, 17, 500, 998, 999]) {
		t.true(set.add(address));
	}

	t.false(set.add(16));
	t.deepEqual(
		[...set.ranges(8, true)],
		[
			{first: 8, last: 9},
			{first: 15, last: 17},
			{first: 500, last: 500},
			{first: 998, last: 999},
		],
	);
	t.deepEqual(
		[...set.ranges(8, false)],
		[
			{first: 10, last: 14},
			{first: 18, last: 499},
			{first: 501, last: 997},
		],
	);
	set.delete(500);
	t.false(set.has(500));
	t.deepEqual([...set.ranges(18, true)], [{first: 998, last: 999}]);
});

test('a full and an empty set of odd size', t => {
	const set = new PbaSet(21);
	t.deepEqual([...set.ranges(8, false)], [{first: 8, last: 20}]);
	for (let address = 8; address < 21; address++) {
		set.add(address);
	}

	t.deepEqual([...set.ranges(8, false)], []);
	t.deepEqual([...set.ranges(8, true)], [{first: 8, last: 20}]);
});

test('parts that are whole take no memory, and come apart where one of them is taken out or added', t => {
	const set = new PbaSet(2 ** 32);
	t.deepEqual(set.addRange(100, 2 ** 31), []);
	t.deepEqual(set.addRange(2 ** 20, 2), [2 ** 20, 2 ** 20 + 1]);
	set.delete(2 ** 24);
	t.false(set.has(2 ** 24));
	t.true(set.has(2 ** 24 + 1));
	t.true(set.add(2 ** 31 + 2 ** 22));
	t.deepEqual(
		[...set.ranges(0, true)],
		[
			{first: 100, last: 2 ** 24 - 1},
			{first: 2 ** 24 + 1, last: 2 ** 31 + 99},
			{first: 2 ** 31 + 2 ** 22, last: 2 ** 31 + 2 ** 22},
		],
	);
	t.deepEqual([...set.ranges(0, false)].at(1), {first: 2 ** 24, last: 2 ** 24});
});
