import test from 'ava';
import {SeenBlocks, isSameBlock, type BlockReference} from './seen-blocks.js';

const block: BlockReference = {address: 51, generation: 3, label: new Uint8Array(32).fill(7), level: 0, lowestVba: 39};

const strangers: Readonly<Record<string, BlockReference>> = {
	address: {...block, address: 52},
	generation: {...block, generation: 4},
	label: {...block, label: new Uint8Array(32).fill(8)},
	level: {...block, level: 1},
	place: {...block, lowestVba: 70},
};

for (const [what, stranger] of Object.entries(strangers)) {
	test(`a reference that differs in its ${what} means another block`, t => {
		t.false(isSameBlock(block, stranger));
		const seen = new SeenBlocks<BlockReference>();
		seen.add(block);
		t.is(seen.find({...block}), block);
		t.is(seen.find(stranger), undefined);
		seen.add(stranger);
		t.is(seen.find({...stranger}), stranger);
		t.is(seen.find({...block}), block);
		t.deepEqual([...seen], [block, stranger]);
	});
}

test('nodes of different generations may mean one inner block, but not one block of data', t => {
	const inner = {...block, level: 1, lowestVba: 32};
	t.true(isSameBlock(inner, {...inner, generation: 48}));
	t.false(isSameBlock(inner, {...inner, generation: 48, label: new Uint8Array(32)}));
	t.false(isSameBlock(block, {...block, generation: 48}));
});
