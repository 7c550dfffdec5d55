import test from 'ava';
import {PbaSet} from './pba-set.js';

test('ranges of a set and of what is missing, over byte borders', t => {
	const set = new PbaSet(1000);
	for (const address of [8, 9, 15, 16, 17, 500, 998, 999]) {
		t.true(set.add(address));
	}

	t.false(set.add(16));
	t.deepEqual([...set.ranges(8, true)], [{first: 8, last: 9}, {first: 15, last: 17}, {first: 500, last: 500}, {first: 998, last: 999}]);
	t.deepEqual([...set.ranges(8, false)], [{first: 10, last: 14}, {first: 18, last: 499}, {first: 501, last: 997}]);
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
