/** Random numbers that a seed repeats. */
export class SeededRandom {
	#state: number;

	constructor(seed: number) {
		this.#state = seed >>> 0;
	}

	/** A number from 0 up to 1 (mulberry32). */
	next(): number {
		this.#state = (this.#state + 0x6d2b_79f5) >>> 0;
		let mixed = this.#state;
		mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1);
		mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
		return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
	}

	/** A whole number from 0 up to `limit`. */
	below(limit: number): number {
		return Math.floor(this.next() * limit);
	}

	bytes(length: number): Buffer {
		const bytes = Buffer.alloc(length);
		for (let i = 0; i < length; i++) {
			bytes[i] = this.below(256);
		}

		return bytes;
	}
}
