import test from 'ava';
import {readMessage, writeMessage, type Words} from './flat-form.js';

function wordsOf(count: number): Words {
	const memory = new SharedArrayBuffer(count * 8);
	return {numbers: new Float64Array(memory), bytes: new Uint8Array(memory)};
}

/** What arrives of a message that was written at `start`. */
function passed(content: readonly unknown[], start = 5): {length: number; message: unknown[]} {
	const words = wordsOf(1024);
	const length = writeMessage(words, start, 1024, 7, 3, content);
	let message: unknown[] = [];
	const read = readMessage(words, start, (number, kind, values) => {
		message = [number, kind, ...values];
	});
	return {length: read === length ? length : -1, message};
}

const contents: Record<string, unknown[]> = {
	nothing: [],
	numbers: [0, 1, -1, 2 ** 31, -(2 ** 31), 2 ** 53 - 1, 0.5, Infinity],
	vectors: [[], [1, 2, 3], [2 ** 40, 0], [0.25]],
	bytes: [Uint8Array.of(), Uint8Array.of(1), Uint8Array.from({length: 33}, (_, i) => i)],
	'what is optional': [undefined, null, true, false, undefined],
	'everything else': ['ä\0', {a: [1, {b: 'c'}]}, ['x', 1], [[1], [2]], [undefined, 1]],
};

for (const [title, content] of Object.entries(contents)) {
	test(`${title} arrive as they were sent`, t => {
		const {length, message} = passed(content);
		t.true(length >= 3 + content.length);
		t.deepEqual(
			message.map(value => (value instanceof Uint8Array ? Uint8Array.from(value) : value)),
			[7, 3, ...content],
		);
	});
}

test('zero keeps its sign, and no number is one that is no number', t => {
	const [, , zero, nothing] = passed([-0, Number.NaN]).message;
	t.true(Object.is(zero, -0));
	t.true(Number.isNaN(nothing));
});

test('a message fits where there is exactly its room, and changes nothing beyond', t => {
	for (const content of Object.values(contents)) {
		const {length} = passed(content);
		const words = wordsOf(length + 2);
		words.numbers.fill(99);
		t.is(writeMessage(words, 1, 1 + length, 1, 1, content), length);
		t.is(words.numbers[0], 99);
		t.is(words.numbers[length + 1], 99);
		for (let room = 0; room < length; room++) {
			const small = wordsOf(length + 2);
			small.numbers.fill(99);
			t.is(writeMessage(small, 1, 1 + room, 1, 1, content), 0);
			t.true(
				small.numbers.subarray(1 + room).every(word => word === 99),
				`room of ${room} for ${length}`,
			);
		}
	}
});

test('bytes in a message are copies, so that it can be overwritten', t => {
	const words = wordsOf(64);
	const length = writeMessage(words, 0, 64, 1, 1, [Uint8Array.of(1, 2, 3), {hash: Uint8Array.of(4)}]);
	let content: unknown[] = [];
	t.is(
		readMessage(words, 0, (_number, _kind, values) => {
			content = values;
		}),
		length,
	);
	words.numbers.fill(0);
	t.deepEqual([...(content[0] as Uint8Array)], [1, 2, 3]);
	t.deepEqual([...(content[1] as {hash: Uint8Array}).hash], [4]);
});
