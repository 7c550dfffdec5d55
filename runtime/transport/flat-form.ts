/**
 * Messages as words of 8 bytes in shared memory, written and read in place. Numbers, vectors of numbers and short byte
 * strings, which is what requests for data are made of, stand as they are; everything else is MessagePack.
 *
 * A message: its length in words, a number, a kind, then its values. A value: a tag (what it is, and how long), and
 * what belongs to it. All that is read is copied out first and checked by the contract afterwards, as any message.
 */
import {pack, unpack} from './codec.js';
import type {OnTriple} from './session-port.js';

const wordLength = 8;

/** Words before the values. */
const headLength = 3;

const tagNumber = 0;
const tagNumbers = 1;
const tagBytes = 2;
const tagPacked = 3;
const tagUndefined = 4;
const tagNull = 5;
const tagFalse = 6;
const tagTrue = 7;
/** A tag is one of these, and a length times this. */
const tagCount = 8;

/** The same memory as words and as bytes. */
export interface Words {
	readonly numbers: Float64Array;
	readonly bytes: Uint8Array;
}

function wordsOf(byteLength: number): number {
	return Math.ceil(byteLength / wordLength);
}

/** Where the bytes of `value` end, or -1 where they do not fit before `end`. */
function writeBytes({numbers, bytes}: Words, at: number, end: number, tag: number, value: Uint8Array): number {
	const next = at + 1 + wordsOf(value.length);
	if (next > end) {
		return -1;
	}

	numbers[at] = tag + value.length * tagCount;
	bytes.set(value, (at + 1) * wordLength);
	return next;
}

/** The same for a vector; 0 where something in it is no number. */
function writeNumbers({numbers}: Words, at: number, end: number, values: readonly unknown[]): number {
	const {length} = values;
	if (length > 0 && typeof values[0] !== 'number') {
		return 0;
	}

	const start = at + 1;
	if (start + length > end) {
		return -1;
	}

	for (let i = 0; i < length; i++) {
		const value = values[i];
		if (typeof value !== 'number') {
			return 0;
		}

		numbers[start + i] = value;
	}

	numbers[at] = tagNumbers + length * tagCount;
	return start + length;
}

function simpleTag(value: unknown): number {
	switch (value) {
		case undefined: {
			return tagUndefined;
		}

		case null: {
			return tagNull;
		}

		case false: {
			return tagFalse;
		}

		case true: {
			return tagTrue;
		}

		default: {
			return -1;
		}
	}
}

function writeValue(words: Words, at: number, end: number, value: unknown): number {
	if (typeof value === 'number') {
		if (at + 2 > end) {
			return -1;
		}

		words.numbers[at] = tagNumber;
		words.numbers[at + 1] = value;
		return at + 2;
	}

	if (Array.isArray(value)) {
		const next = writeNumbers(words, at, end, value);
		if (next !== 0) {
			return next;
		}
	} else if (value instanceof Uint8Array) {
		return writeBytes(words, at, end, tagBytes, value);
	} else {
		const tag = simpleTag(value);
		if (tag >= 0) {
			if (at === end) {
				return -1;
			}

			words.numbers[at] = tag;
			return at + 1;
		}
	}

	return writeBytes(words, at, end, tagPacked, pack(value));
}

/** Writes a message at `start` and gives its length in words; 0 where it does not fit before `end`. */
export function writeMessage(
	words: Words,
	start: number,
	end: number,
	number: number,
	kind: number,
	content: readonly unknown[],
): number {
	let at = start + headLength;
	for (let i = 0; i < content.length && at <= end && at > 0; i++) {
		at = writeValue(words, at, end, content[i]);
	}

	if (at < 0 || at > end) {
		return 0;
	}

	words.numbers[start] = at - start;
	words.numbers[start + 1] = number;
	words.numbers[start + 2] = kind;
	return at - start;
}

/** Small integers as the engine keeps them best: a number out of such memory is a float to it. */
function compact(value: number): number {
	const integer = value | 0;
	return integer === value && (integer !== 0 || 1 / value > 0) ? integer : value;
}

function readNumbers(numbers: Float64Array, start: number, length: number): number[] {
	const values: number[] = [];
	for (let i = start; i < start + length; i++) {
		values.push(compact(numbers[i]));
	}

	return values;
}

/** Reads the message at `start`, hands it on, and gives its length in words. */
export function readMessage({numbers, bytes}: Words, start: number, onTriple: OnTriple): number {
	const end = start + numbers[start];
	const content: unknown[] = [];
	for (let at = start + headLength; at < end;) {
		const word = numbers[at++];
		const tag = word % tagCount;
		const length = (word - tag) / tagCount;
		switch (tag) {
			case tagNumber: {
				content.push(compact(numbers[at++]));
				break;
			}

			case tagNumbers: {
				content.push(readNumbers(numbers, at, length));
				at += length;
				break;
			}

			case tagBytes:
			case tagPacked: {
				const copy = bytes.slice(at * wordLength, at * wordLength + length);
				content.push(tag === tagBytes ? copy : unpack(copy));
				at += wordsOf(length);
				break;
			}

			case tagTrue:
			case tagFalse: {
				content.push(tag === tagTrue);
				break;
			}

			default: {
				content.push(tag === tagNull ? null : undefined);
			}
		}
	}

	onTriple(compact(numbers[start + 1]), compact(numbers[start + 2]), content);
	return end - start;
}
