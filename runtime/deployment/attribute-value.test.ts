import test from 'ava';
import {formatByteCount, parseByteCount} from './attribute-value.js';

test('sizes as Genode writes them', t => {
	t.is(parseByteCount('4096'), 4096);
	t.is(parseByteCount('4096K'), 4096 * 1024);
	t.is(parseByteCount('64M'), 64 * 1024 ** 2);
	t.is(parseByteCount('1G'), 1024 ** 3);
	for (const text of ['', 'M', '-1', '1.5M', '64MB', '64 M', '1e3', '0x10', '1T']) {
		t.is(parseByteCount(text), undefined, text);
	}
});

test('sizes are shown in the largest unit that fits', t => {
	for (const text of ['1', '1023', '1K', '1500K', '64M', '3G']) {
		t.is(formatByteCount(parseByteCount(text) ?? 0), text);
	}
});
