import test from 'ava';
import {Geometry, dimensionsFault, freshPbaCount, innerBlockCount} from './geometry.js';

test('children and lowest leaves on the way to a leaf', t => {
	const geometry = new Geometry({degree: 64, maxLevel: 4, leafCount: 262_144});
	const vba = 3 * 64 ** 2 + 5 * 64 + 7;
	t.deepEqual(
		[4, 3, 2, 1].map(level => geometry.childIndex(vba, level)),
		[0, 3, 5, 7],
	);
	t.deepEqual(
		[0, 1, 2, 3].map(level => geometry.lowestVba(vba, level)),
		[vba, vba - 7, 3 * 64 ** 2, 0],
	);
});

test('numbers of inner blocks', t => {
	t.is(innerBlockCount({degree: 64, maxLevel: 2, leafCount: 200}), 5);
	t.is(innerBlockCount({degree: 64, maxLevel: 4, leafCount: 262_144}), 4096 + 64 + 1 + 1);
	t.is(new Geometry({degree: 2, maxLevel: 3, leafCount: 5}).innerBlockCount, 3 + 2 + 1);
});

test('the example of the format: 1 GiB with 128 MiB of pool, extended by 65,536 blocks', t => {
	const before = {degree: 64, maxLevel: 4, leafCount: 262_144};
	const after = {...before, leafCount: 1_337_978_880 / 4096};
	t.is(after.leafCount - before.leafCount, 64_511);
	t.is(innerBlockCount(after) - innerBlockCount(before), 1025);
	t.is(
		freshPbaCount(before, {degree: 64, maxLevel: 3, leafCount: 32_768}),
		8 + (262_144 + 4162) + 2 * (32_768 + 521),
	);
});

const faults: ReadonlyArray<{
	dimensions: [degree: number, maxLevel: number, leafCount: number];
	pool: boolean;
	message: RegExp | undefined;
}> = [
	{dimensions: [64, 5, 64 ** 5], pool: false, message: undefined},
	{dimensions: [2, 1, 1], pool: false, message: undefined},
	{dimensions: [8, 5, 8], pool: true, message: undefined},
	{dimensions: [48, 2, 10], pool: false, message: /degree is 48/},
	{dimensions: [128, 2, 10], pool: false, message: /degree is 128/},
	{dimensions: [64, 6, 10], pool: false, message: /max level is 6/},
	{dimensions: [64, 0, 10], pool: false, message: /max level is 0/},
	{dimensions: [64, 2, 4097], pool: false, message: /from 1 to 4096/},
	{dimensions: [64, 2, 0], pool: false, message: /there are 0 leaves/},
	{dimensions: [4, 3, 10], pool: true, message: /number of levels/},
];

for (const {
	dimensions: [degree, maxLevel, leafCount],
	pool,
	message,
} of faults) {
	test(`degree ${degree}, max level ${maxLevel}, ${leafCount} leaves${pool ? ' of a pool' : ''}: ${message ? 'refused' : 'accepted'}`, t => {
		const fault = dimensionsFault({degree, maxLevel, leafCount}, pool);
		if (message) {
			t.regex(fault?.text ?? '', message);
		} else {
			t.is(fault, undefined);
		}
	});
}
