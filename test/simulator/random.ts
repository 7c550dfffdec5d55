/** Randomness that a seed decides: the same seed makes the same history, on every machine. */
export class Random {
	#a: number;
	#b: number;
	#c: number;
	#count = 1;

	constructor(seed: number) {
		this.#a = seed >>> 0;
		this.#b = Math.floor(seed / 2 ** 32) >>> 0;
		this.#c = 0x9e37_79b9;
		// The first values still show the seed.
		for (let i = 0; i < 12; i++) {
			this.next();
		}
	}

	/** 32 random bits (sfc32). */
	next(): number {
		const sum = (this.#a + this.#b + this.#count) | 0;
		this.#count = (this.#count + 1) | 0;
		this.#a = this.#b ^ (this.#b >>> 9);
		this.#b = (this.#c + (this.#c << 3)) | 0;
		this.#c = (((this.#c << 21) | (this.#c >>> 11)) + sum) | 0;
		return sum >>> 0;
	}

	/** A whole number from 0 to `count` - 1. */
	below(count: number): number {
		return Math.floor((this.next() / 2 ** 32) * count);
	}

	/** A whole number from `min` to `max`. */
	between(min: number, max: number): number {
		return min + this.below(max - min + 1);
	}

	chance(probability: number): boolean {
		return this.next() / 2 ** 32 < probability;
	}

	pick<T>(values: readonly T[]): T {
		return values[this.below(values.length)];
	}

	/** Another stream that this one decides. */
	fork(): Random {
		return new Random(this.next() * 2 ** 20 + (this.next() >>> 12));
	}

	bytes(count: number): Uint8Array {
		return Uint8Array.from({length: count}, () => this.next() & 0xff);
	}
}
