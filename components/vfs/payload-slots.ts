/**
 * Memory for requests that carry data, leased once: other components see it without a copy. A request is read into a
 * large slot; short data is copied to a small one, so that many short writes can be served at the same time.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import {blockSize} from '../sessions/block.js';
import {lengths} from './fuse-protocol.js';
import {largeSlotCount, smallSlotByteLength, smallSlotCount, transferByteLengthMax} from './file-system-limits.js';

/** Where the header of a write begins in a large slot, so that its data begins with a page. */
const headerOffset = blockSize - lengths.inHeader - lengths.writeIn;
const largeSlotByteLength = blockSize + transferByteLengthMax;

/** Data of a write, until it is released. */
export interface HeldData {
	readonly data: Buffer;
	release(): void;
}

function cut(memory: Buffer, byteLength: number, count: number): Buffer[] {
	return Array.from({length: count}, (_, i) => memory.subarray(i * byteLength, (i + 1) * byteLength));
}

export class PayloadSlots {
	readonly #large: Buffer[];
	readonly #small: Buffer[];
	readonly #onFree: () => void;
	/** The slot that the next request is read into. */
	#current: Buffer | undefined;

	/** @param onFree called when there is room again after there was none */
	constructor(env: Environment, onFree: () => void) {
		this.#onFree = onFree;
		this.#large = cut(env.lease(largeSlotCount * largeSlotByteLength).bytes, largeSlotByteLength, largeSlotCount);
		this.#small = cut(env.lease(smallSlotCount * smallSlotByteLength).bytes, smallSlotByteLength, smallSlotCount);
	}

	/** Where the next request can be read to; undefined while everything is in use. */
	next(): Buffer | undefined {
		this.#current ??= this.#large.pop();
		return this.#current?.subarray(headerOffset);
	}

	/** Keeps `length` bytes of data, which begin `offset` bytes after the beginning of the request just read. */
	hold(offset: number, length: number): HeldData {
		const slot = this.#current!;
		const data = slot.subarray(headerOffset + offset, headerOffset + offset + length);
		const small = length <= smallSlotByteLength ? this.#small.pop() : undefined;
		if (small) {
			data.copy(small);
			return this.#held(small, small.subarray(0, length), this.#small);
		}

		this.#current = undefined;
		return this.#held(slot, data, this.#large);
	}

	#held(slot: Buffer, data: Buffer, home: Buffer[]): HeldData {
		return {
			data,
			release: () => {
				const wasFull = this.#large.length === 0 && this.#current === undefined;
				home.push(slot);
				if (wasFull) {
					this.#onFree();
				}
			},
		};
	}
}
