/**
 * A ring of messages from one thread to one other, in shared memory. The writer alone moves the tail, the reader alone
 * the head; a message counts once the tail has passed it. No message is cut at the end of the memory: where it would be,
 * a mark leads back to the beginning.
 */
import type {Inbox} from './doorbell.js';
import {readMessage, writeMessage, type Words} from './flat-form.js';
import type {OnTriple} from './session-port.js';

/** Words of a ring: 128 KiB, a dozen of the largest requests for data. The memory is taken when it is first used. */
const capacity = 2 ** 14;

/** Positions in 32-bit integers, each in a cache line of its own: what the writer has written, what the reader has read. */
const tailAt = 0;
const headAt = 16;
/** Messages beside the ring that the reader has taken. */
const asideAt = 32;
const controlByteLength = 256;

/** In place of a message's length: the next one stands at the beginning. */
const turnMark = -1;

export function makeRing(): SharedArrayBuffer {
	return new SharedArrayBuffer(controlByteLength + capacity * 8);
}

class Ring {
	readonly control: Int32Array;
	readonly words: Words;

	constructor(memory: SharedArrayBuffer) {
		this.control = new Int32Array(memory, 0, controlByteLength / 4);
		this.words = {
			numbers: new Float64Array(memory, controlByteLength),
			bytes: new Uint8Array(memory, controlByteLength),
		};
	}
}

export class RingWriter {
	readonly #ring: Ring;
	#tail = 0;
	#asideCount = 0;

	constructor(memory: SharedArrayBuffer) {
		this.#ring = new Ring(memory);
	}

	/** False where it has no room: then it goes another way, and so does all that follows until that was taken. */
	write(number: number, kind: number, content: readonly unknown[]): boolean {
		const {control, words} = this.#ring;
		if (this.#asideCount !== Atomics.load(control, asideAt)) {
			return false;
		}

		const tail = this.#tail;
		const free = capacity - ((tail - Atomics.load(control, headAt)) | 0);
		const place = tail & (capacity - 1);
		const before = Math.min(free, capacity - place);
		let length = writeMessage(words, place, place + before, number, kind, content);
		if (length === 0 && before < free) {
			length = writeMessage(words, 0, free - before, number, kind, content);
			if (length > 0) {
				words.numbers[place] = turnMark;
				length += before;
			}
		}

		if (length === 0) {
			return false;
		}

		this.#tail = (tail + length) | 0;
		Atomics.store(control, tailAt, this.#tail);
		return true;
	}

	/** A message goes to the reader beside the ring. */
	noteAside(): void {
		this.#asideCount = (this.#asideCount + 1) | 0;
	}
}

export class RingReader implements Inbox {
	readonly #ring: Ring;
	readonly #onTriple: OnTriple;
	#head = 0;
	#isClosed = false;

	constructor(memory: SharedArrayBuffer, onTriple: OnTriple) {
		this.#ring = new Ring(memory);
		this.#onTriple = onTriple;
	}

	get isFilled(): boolean {
		return Atomics.load(this.#ring.control, tailAt) !== this.#head;
	}

	/** Hands on what has come until now; what it leads to may close the reader. */
	empty(): void {
		const {control, words} = this.#ring;
		const tail = Atomics.load(control, tailAt);
		while (this.#head !== tail && !this.#isClosed) {
			const place = this.#head & (capacity - 1);
			if (words.numbers[place] === turnMark) {
				this.#head = (this.#head + capacity - place) | 0;
			} else {
				// Counted as read before it is handed on, so that nothing is handed on twice, whatever that throws.
				const length = words.numbers[place];
				this.#head = (this.#head + length) | 0;
				readMessage(words, place, this.#onTriple);
			}
		}

		Atomics.store(control, headAt, this.#head);
	}

	/** A message that came beside the ring was taken; all before it in the ring was, too. */
	noteAside(): void {
		Atomics.add(this.#ring.control, asideAt, 1);
	}

	close(): void {
		this.#isClosed = true;
	}
}
