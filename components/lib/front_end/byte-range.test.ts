import test from 'ava';
import {divide} from './byte-range.js';

test('every range is divided into parts that cover it exactly once', t => {
	const edges = [0, 1, 511, 4095, 4096, 4097, 8191, 8192, 8193, 12_288, 12_289];
	for (const offset of edges) {
		for (const length of edges.slice(1)) {
			const covered = new Uint8Array(length);
			const {partial, whole} = divide(offset, length);
			for (const part of partial) {
				t.is(part.block * 4096 + part.start, offset + part.offset);
				t.true(part.length > 0 && part.length < 4096 && part.start + part.length <= 4096);
				covered
					.subarray(part.offset, part.offset + part.length)
					.forEach((_, index) => covered[part.offset + index]++);
			}

			for (let i = 0; i < whole.count * 4096; i++) {
				covered[whole.offset + i]++;
			}

			t.true(whole.count === 0 || whole.first * 4096 === offset + whole.offset);
			t.true(
				covered.every(count => count === 1),
				`${length} bytes at ${offset}`,
			);
		}
	}
});
