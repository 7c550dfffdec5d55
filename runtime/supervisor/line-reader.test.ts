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
		t.deepEqual(linesOf('one\nä 3\n\n\n\ntwo 2\nxyend\nbegun', pieceLength), [
			['one', undefined],
			['ä 3', '\n\n\n'],
			['two 2', 'xy'],
			['end', undefined],
		]);
	});
}

test('payload goes to the memory that was brought for it, and is not copied where it was read to its place; lines outlive what they came in', t => {
	const memory = Buffer.alloc(8);
	const lines: Array<[string, Buffer | undefined]> = [];
	const reader = new LineReader({
		lengthMax: 20,
		payloadLengthOf: line => Number(/\d+$/.exec(line)?.[0] ?? 0),
		payloadMemory: length => memory.subarray(0, length),
		onLine: (line, payload) => void lines.push([line, payload]),
	});
	const received = Buffer.alloc(8);
	const take = (text: string) => {
		const room = reader.room ?? received;
		reader.take(room.subarray(0, room.write(text)));
	};

	take('on');
	take('e 6\nab');
	t.is(reader.room?.buffer, memory.buffer);
	t.is(reader.room?.length, 4);
	take('cd');
	take('ef');
	t.is(reader.room, undefined);
	take('end\n');
	t.deepEqual(
		lines.map(([line, payload]) => [line, payload?.toString()]),
		[
			['one 6', 'abcdef'],
			['end', undefined],
		],
	);
	t.is(lines[0][1]?.buffer, memory.buffer);
});

test('a line that is too long is not kept', t => {
	t.throws(() => linesOf('x'.repeat(21), 10), {message: /more than 20 bytes/});
	t.deepEqual(linesOf(`${'x'.repeat(20)}\n`, 10), [['x'.repeat(20), undefined]]);
});
