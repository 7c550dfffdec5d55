import test from 'ava';
import type {Dimensions} from './geometry.js';
import {growPoolOnce, nextToGrow, poolRoom} from './pool-growth.js';

/** Grows step by step, as the free tree does, until the limit is reached. */
function roomStepByStep(free: Dimensions, meta: Dimensions): number {
	let trees = {free, meta};
	let used = 0;
	for (let which = nextToGrow(free, meta); which !== undefined; which = nextToGrow(trees.free, trees.meta)) {
		const {tree, usedCount} = growPoolOnce(trees[which], Infinity);
		trees = {...trees, [which]: tree};
		used += usedCount;
	}

	return used;
}

for (const degree of [4, 8, 16]) {
	test(`degree ${degree}: the room is what growing step by step takes`, t => {
		const levelMax = Math.min(3, degree - 2);
		for (let maxLevel = 1; maxLevel <= levelMax; maxLevel++) {
			for (const leafCount of [1, degree - 1, degree, degree ** maxLevel - 1, degree ** maxLevel]) {
				const tree = {degree, maxLevel, leafCount: Math.min(leafCount, degree ** maxLevel)};
				const room = roomStepByStep(tree, tree);
				t.is(poolRoom(tree, tree, Infinity), room, JSON.stringify(tree));
				t.is(poolRoom(tree, tree, 7), Math.min(7, room));
			}
		}
	});
}

test('an absurd wish is answered at once', t => {
	const tree = {degree: 64, maxLevel: 3, leafCount: 32_768};
	const startedMs = performance.now();
	const room = poolRoom(tree, tree, 99_999_999_999);
	t.true(room > 64 ** 5 && room < 99_999_999_999);
	t.true(performance.now() - startedMs < 100);
});
