import test from 'ava';
import {fillImplied, firstPlace, freshTrees, isImplied} from './fresh-layout.js';
import {blockSize, freshPbaCount, superblockSlotCount, type Dimensions} from './geometry.js';
import {NodeBlocks} from './node-blocks.js';

const shapes: ReadonlyArray<readonly [Dimensions, Dimensions]> = [
	[
		{leafCount: 200, maxLevel: 2, degree: 64},
		{leafCount: 1024, maxLevel: 2, degree: 64},
	],
	[
		{leafCount: 1, maxLevel: 5, degree: 2},
		{leafCount: 37, maxLevel: 4, degree: 8},
	],
	[
		{leafCount: 32, maxLevel: 5, degree: 2},
		{leafCount: 64, maxLevel: 2, degree: 8},
	],
	[
		{leafCount: 21, maxLevel: 3, degree: 4},
		{leafCount: 5, maxLevel: 1, degree: 8},
	],
];

for (const [device, pool] of shapes) {
	test(`every block of a fresh container has one place: ${device.leafCount} and ${pool.leafCount} leaves`, t => {
		const fresh = freshTrees(device, pool);
		const nodes = new NodeBlocks(new Uint8Array(blockSize));
		const seen = new Set<number>();
		const take = (place: number) => {
			t.false(seen.has(place), `PBA ${place} belongs to two blocks`);
			seen.add(place);
		};

		for (const [tree, {degree, maxLevel, leafCount}] of [
			[fresh.virtualBlockDevice, device],
			[fresh.freeTree, pool],
			[fresh.metaTree, pool],
		] as const) {
			take(firstPlace(tree, degree, maxLevel));
			let positions = [0];
			for (let level = maxLevel; level >= 1; level--) {
				const children: number[] = [];
				for (const position of positions) {
					fillImplied(nodes, 0, {tree, degree, level, position});
					for (let index = 0; !nodes.isUnset(0, index) && index < 64; index++) {
						t.is(nodes.generation(0, index), 0);
						take(nodes.address(0, index));
						children.push(position * degree + index);
					}
				}

				positions = children;
			}

			t.deepEqual(
				positions,
				Array.from({length: leafCount}, (_, leaf) => leaf),
			);
		}

		t.deepEqual(
			[...seen].sort((a, b) => a - b),
			Array.from({length: freshPbaCount(device, pool) - superblockSlotCount}, (_, i) => superblockSlotCount + i),
		);
	});
}

test('a label of zeroes stands for an implied block, and only where there are some', t => {
	const {freeTree} = freshTrees(...shapes[0]);
	const label = new Uint8Array(32);
	t.true(isImplied(freeTree, label));
	t.false(isImplied(undefined, label));
	label[31] = 1;
	t.false(isImplied(freeTree, label));
});
