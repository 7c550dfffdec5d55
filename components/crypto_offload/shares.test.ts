import test from 'ava';
import {sharesOf} from './shares.js';

test('few blocks stay on the thread that has them', t => {
	for (const count of [0, 1, 32, 47]) {
		t.deepEqual(sharesOf(count, 8), {own: count, helperCount: 0, each: 0});
	}
});

test('with no idle thread nothing is handed over, and others get their turn after 1 MiB', t => {
	t.deepEqual(sharesOf(200, 0), {own: 200, helperCount: 0, each: 0});
	t.deepEqual(sharesOf(8192, 0), {own: 256, helperCount: 0, each: 0});
});

test('many blocks are spread so that all threads end together: a hand-off counts as 16 blocks', t => {
	t.deepEqual(sharesOf(48, 8), {own: 32, helperCount: 1, each: 16});
	t.deepEqual(sharesOf(256, 1), {own: 136, helperCount: 1, each: 120});
	t.deepEqual(sharesOf(256, 3), {own: 76, helperCount: 3, each: 60});
});

test('no more threads than there is worth the while', t => {
	t.deepEqual(sharesOf(80, 100), {own: 32, helperCount: 3, each: 16});
});

test('no share is larger than 1 MiB', t => {
	t.deepEqual(sharesOf(8192, 3), {own: 256, helperCount: 3, each: 256});
});

test('every block has its place, whatever waits', t => {
	for (let waiting = 0; waiting < 2000; waiting++) {
		for (const idle of [0, 1, 2, 7]) {
			const {own, helperCount, each} = sharesOf(waiting, idle);
			t.true(helperCount <= idle && own <= 256 && each <= 256);
			const given = own + helperCount * each;
			t.true(given === waiting || (given < waiting && own === 256));
			t.true(waiting === 0 || own > 0);
		}
	}
});
