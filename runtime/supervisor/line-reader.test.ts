import test from 'ava';
import {LineReader} from './line-reader.js';

/** What comes of `text` in pieces of so many bytes. */
function linesOf(text: string, pieceLength: number): Array<[string, string | undefined]> {
	const lines: Array<[string, string | undefined]> = [];
	const reader = new LineReader({
		lengthMax: 20,
		payloadLengthOf: line => Number(/\d+$/.exec(line)?.[0] ?? 0),
		onLine: (line, payload) => void lines.push([line, payload?.toString()]),
	});
	const bytes = Buffer.from(text);
	for (let at = 0; at < bytes.length; at += pieceLength) {
		reader.take(bytes.subarray(at, at + pieceLength));
	}

	return lines;
}

for (const pieceLength of [1, 2, 3, 7, 100]) {
	test(`lines and what follows them, in pieces of ${pieceLength} bytes`, t => {
		t.deepEqual(linesOf('one\nä 3\n\n\n\ntwo 2\nxyend\nbegun', pieceLength), [['one', undefined], ['ä 3', '\n\n\n'], ['two 2', 'xy'], ['end', undefined]]);
	});
}

test('a line that is too long is not kept', t => {
	t.throws(() => linesOf('x'.repeat(21), 10), {message: /more than 20 bytes/});
	t.deepEqual(linesOf(`${'x'.repeat(20)}\n`, 10), [['x'.repeat(20), undefined]]);
});
