import test from 'ava';
import {blockSize} from '../../sessions/vocabulary.js';
import {extentsOf, piecesOf, requireBlocks, requireExtents} from './extents.js';

test('neighbours become one extent, in the order of the addresses', t => {
	t.deepEqual(extentsOf([]), []);
	t.deepEqual(extentsOf([4, 5, 6, 9, 8]), [4, 3, 9, 1, 8, 1]);
});

test('what reaches beyond the last block is refused, and the last one is not', t => {
	t.notThrows(() => {
		requireBlocks(0, 10, 10, 'the device');
	});
	t.notThrows(() => {
		requireExtents([0, 1, 9, 1], 10, 'the device');
	});
	t.notThrows(() => {
		requireExtents([], 0, 'the device');
	});
	t.throws(
		() => {
			requireBlocks(9, 2, 10, 'the device');
		},
		{code: 'out_of_range', message: 'blocks 9 to 10 do not fit the 10 blocks of the device'},
	);
	t.throws(
		() => {
			requireExtents([0, 1, 10, 1], 10, 'the device');
		},
		{code: 'out_of_range', message: 'blocks 10 to 10 do not fit the 10 blocks of the device'},
	);
});

test('pieces are no longer than asked, and each has its own part of the payload', t => {
	const data = Uint8Array.from({length: 9 * blockSize}, (_, i) => Math.floor(i / blockSize));
	const pieces = piecesOf([3, 1, 10, 5, 40, 3], data, 2);
	t.deepEqual(
		pieces.map(({vba, count}) => [vba, count]),
		[
			[3, 1],
			[10, 2],
			[12, 2],
			[14, 1],
			[40, 2],
			[42, 1],
		],
	);
	for (const {count, data: part} of pieces) {
		t.is(part.length, count * blockSize);
	}

	t.deepEqual(Buffer.concat(pieces.map(piece => piece.data)), Buffer.from(data));
});

test('a request that is one piece is not cut', t => {
	const data = new Uint8Array(2 * blockSize);
	const [piece] = piecesOf([7, 2], data, 2);
	t.is(piece.data, data);
	t.like(piece, {vba: 7, count: 2});
});
