/**
 * Arenas: pieces of shared memory that carry the same number on every thread, so that messages name payload by
 * (arena, offset, length). Each link between two threads shows an arena to the other end once, before its first use.
 */
import {threadId} from 'node:worker_threads';

/** Arenas that one thread may make in its life; the number of an arena is its thread's part and a count. */
const arenasPerThreadMax = 2 ** 24;

/** Views that a link keeps of one arena, because the same places are used again and again. */
const keptViewCountMax = 1024;

const numbers = new WeakMap<ArrayBufferLike, number>();
const links = new Set<ArenaLink>();
let madeCount = 0;

/** Makes a new arena of this thread. */
export function makeArena(byteLength: number): SharedArrayBuffer {
	const memory = new SharedArrayBuffer(byteLength);
	if (madeCount === arenasPerThreadMax) {
		throw new RangeError('this thread has made too many arenas');
	}

	numbers.set(memory, threadId * arenasPerThreadMax + ++madeCount);
	return memory;
}

/** Tells every peer that an arena of this thread will not be used again. */
export function retireArena(memory: SharedArrayBuffer): void {
	forgetOnAllLinks(numbers.get(memory) ?? 0);
}

function forgetOnAllLinks(arena: number): void {
	for (const link of links) {
		link.forget(arena);
	}
}

/** True where the bytes lie in an arena, so that other threads can be shown them. */
export function isShared(bytes: Uint8Array): boolean {
	return numbers.has(bytes.buffer);
}

/** What the two ends send each other beside their calls: arenas shown for the first time, or one that is gone. */
export type ArenaMessage = {readonly shown: number; readonly memory: SharedArrayBuffer} | {readonly gone: number};

class SeenArena {
	readonly #memory: SharedArrayBuffer;
	readonly #views = new Map<number, Buffer>();

	constructor(memory: SharedArrayBuffer) {
		this.#memory = memory;
	}

	view(offset: number, length: number): Buffer {
		const kept = this.#views.get(offset);
		if (kept?.length === length) {
			return kept;
		}

		if (this.#views.size >= keptViewCountMax) {
			this.#views.clear();
		}

		const view = Buffer.from(this.#memory, offset, length);
		this.#views.set(offset, view);
		return view;
	}
}

const nothing = Buffer.alloc(0);

/** What both ends of one session know of each other's arenas. */
export class ArenaLink {
	readonly #send: (message: ArenaMessage) => void;
	readonly #shown = new Set<number>();
	readonly #seen = new Map<number, SeenArena>();

	/** @param send sends to the other end, before anything that is sent later */
	constructor(send: (message: ArenaMessage) => void) {
		this.#send = send;
		links.add(this);
	}

	/** The number of the arena in which the bytes lie, made known to the other end; 0 for no bytes. */
	show(bytes: Uint8Array): number {
		if (bytes.length === 0) {
			return 0;
		}

		const arena = numbers.get(bytes.buffer);
		if (arena === undefined) {
			throw new TypeError('payload must lie in leased memory');
		}

		if (!this.#shown.has(arena)) {
			this.#shown.add(arena);
			this.#send({shown: arena, memory: bytes.buffer as SharedArrayBuffer});
		}

		return arena;
	}

	/** The bytes at a place that the other end has named. */
	view(arena: number, offset: number, length: number): Buffer {
		if (length === 0) {
			return nothing;
		}

		const seen = this.#seen.get(arena);
		if (!seen) {
			throw new RangeError('a message names an arena that was never shown');
		}

		return seen.view(offset, length);
	}

	receive(message: ArenaMessage): void {
		if ('gone' in message) {
			this.#seen.delete(message.gone);
			forgetOnAllLinks(message.gone);
			return;
		}

		numbers.set(message.memory, message.shown);
		this.#seen.set(message.shown, new SeenArena(message.memory));
	}

	/** Tells the other end that an arena is gone, if it has ever been shown it. */
	forget(arena: number): void {
		if (this.#shown.delete(arena)) {
			this.#send({gone: arena});
		}
	}

	close(): void {
		links.delete(this);
		this.#seen.clear();
		this.#shown.clear();
	}
}
