/** A set of PBAs: one bit for each block of the container, the only memory that grows with its size. */
import type {Pba} from '../container/addresses.js';

export interface PbaRange {
	readonly first: Pba;
	readonly last: Pba;
}

export class PbaSet {
	readonly #bits: Uint8Array;
	readonly #pbaCount: number;

	constructor(pbaCount: number) {
		this.#pbaCount = pbaCount;
		this.#bits = new Uint8Array(Math.ceil(pbaCount / 8));
	}

	has(address: Pba): boolean {
		return (this.#bits[Math.floor(address / 8)] & (1 << (address % 8))) !== 0;
	}

	/** Says whether the address was new. */
	add(address: Pba): boolean {
		const isNew = !this.has(address);
		this.#bits[Math.floor(address / 8)] |= 1 << (address % 8);
		return isNew;
	}

	/** Adds `count` addresses; replies with those that were there before. */
	addRange(first: Pba, count: number): Pba[] {
		const known: Pba[] = [];
		for (let address = first; address < first + count; address++) {
			if (address % 8 === 0 && address + 8 <= first + count && this.#bits[address / 8] === 0) {
				this.#bits[address / 8] = 0xff;
				address += 7;
			} else if (!this.add(address)) {
				known.push(address);
			}
		}

		return known;
	}

	delete(address: Pba): void {
		this.#bits[Math.floor(address / 8)] &= ~(1 << (address % 8));
	}

	/** Runs of addresses from `first` on that are (`present`) or are not in the set. */
	* ranges(first: Pba, present: boolean): Generator<PbaRange> {
		const uninteresting = present ? 0 : 0xff;
		let start: Pba | undefined;
		for (let address = first; address < this.#pbaCount; address++) {
			if (start === undefined && address % 8 === 0 && this.#bits[address / 8] === uninteresting) {
				address += 7;
				continue;
			}

			if (this.has(address) === present) {
				start ??= address;
			} else if (start !== undefined) {
				yield {first: start, last: address - 1};
				start = undefined;
			}
		}

		if (start !== undefined) {
			yield {first: start, last: this.#pbaCount - 1};
		}
	}
}
