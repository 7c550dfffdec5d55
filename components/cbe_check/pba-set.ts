/**
 * A set of PBAs: one bit for each block of the container, but for parts of which all are in the set, or none. So the
 * memory that it takes grows with what was ever used of the container.
 */
import type {Pba} from '../sessions/vocabulary.js';

export interface PbaRange {
	readonly first: Pba;
	readonly last: Pba;
}

/** Addresses of one part. */
const partSize = 2 ** 19;

export class PbaSet {
	/** By part its bits; undefined where none of its addresses is in the set. */
	readonly #parts: Array<Uint8Array | 'full' | undefined>;
	readonly #pbaCount: number;

	constructor(pbaCount: number) {
		this.#pbaCount = pbaCount;
		this.#parts = Array.from({length: Math.ceil(pbaCount / partSize)});
	}

	has(address: Pba): boolean {
		const part = this.#parts[Math.floor(address / partSize)];
		const bit = address % partSize;
		return part === 'full' || (part !== undefined && (part[bit >> 3] & (1 << (bit & 7))) !== 0);
	}

	/** Says whether the address was new. */
	add(address: Pba): boolean {
		if (this.has(address)) {
			return false;
		}

		const bit = address % partSize;
		this.#bitsOf(address)[bit >> 3] |= 1 << (bit & 7);
		return true;
	}

	/** Adds `count` addresses; replies with those that were there before. */
	addRange(first: Pba, count: number): Pba[] {
		const known: Pba[] = [];
		const end = first + count;
		for (let address = first; address < end; address++) {
			const number = address / partSize;
			if (address % partSize === 0 && address + partSize <= end && this.#parts[number] === undefined) {
				this.#parts[number] = 'full';
				address += partSize - 1;
			} else if (!this.add(address)) {
				known.push(address);
			}
		}

		return known;
	}

	delete(address: Pba): void {
		if (this.has(address)) {
			const bit = address % partSize;
			this.#bitsOf(address)[bit >> 3] &= ~(1 << (bit & 7));
		}
	}

	/** Runs of addresses from `first` on that are (`present`) or are not in the set. */
	*ranges(first: Pba, present: boolean): Generator<PbaRange> {
		let start: Pba | undefined;
		for (let address = first; address < this.#pbaCount; address++) {
			const part = this.#parts[Math.floor(address / partSize)];
			const isWhole = address % partSize === 0 && (part === undefined || part === 'full');
			if (this.has(address) === present) {
				start ??= address;
			} else if (start !== undefined) {
				yield {first: start, last: address - 1};
				start = undefined;
			}

			if (isWhole) {
				// All addresses of the part are alike.
				address += partSize - 1;
			}
		}

		if (start !== undefined) {
			yield {first: start, last: this.#pbaCount - 1};
		}
	}

	/** The bits of the part with this address, of its own. */
	#bitsOf(address: Pba): Uint8Array {
		const number = Math.floor(address / partSize);
		const part = this.#parts[number];
		if (part instanceof Uint8Array) {
			return part;
		}

		const bits = new Uint8Array(partSize / 8).fill(part === 'full' ? 0xff : 0);
		this.#parts[number] = bits;
		return bits;
	}
}
