/**
 * Units of one piece of work, each of which is done by exactly one of several threads. Every thread that has time takes
 * the next free ones, so all end together, however late one of them came or however slow it is.
 *
 * Guarantee: no unit is taken by two threads, and once all are taken nobody gets one any more, so a thread that comes
 * too late touches nothing.
 */

/** Memory that several threads see. */
export function sharedMemory(byteLength: number): Uint8Array {
	return new Uint8Array(new SharedArrayBuffer(byteLength));
}

/** Units one behind another. */
export interface Claim {
	readonly first: number;
	readonly count: number;
}

/** How many units are free, about: a thread may die between taking some and counting them. */
const freeField = 0;
const ownerFields = 1;

/** What stands for a unit: nobody's, done, or else the number of the thread that has taken it. */
const nobody = 0;
const done = -1;

/** One thread's view. */
export class WorkClaims {
	readonly #fields: Int32Array;
	readonly #unitCount: number;
	/** Where this thread looks next, from either end; units on the other side of it are not free. */
	#front = 0;
	#back: number;
	/** All units before this one are done. */
	#doneCount = 0;

	/** @param memory shared, 4-byte aligned, of `byteLength(unitCount)` at least; zeroed where the work begins */
	constructor(memory: Uint8Array, unitCount: number) {
		this.#fields = new Int32Array(memory.buffer, memory.byteOffset, ownerFields + unitCount);
		this.#unitCount = unitCount;
		this.#back = unitCount - 1;
	}

	static byteLength(unitCount: number): number {
		return (ownerFields + unitCount) * Int32Array.BYTES_PER_ELEMENT;
	}

	/** Begins: all units are free. Nobody else may use the memory now. */
	open(): void {
		this.#fields.fill(nobody);
		Atomics.store(this.#fields, freeField, this.#unitCount);
	}

	get freeCount(): number {
		return Atomics.load(this.#fields, freeField);
	}

	get areAllDone(): boolean {
		while (
			this.#doneCount < this.#unitCount &&
			Atomics.load(this.#fields, ownerFields + this.#doneCount) === done
		) {
			this.#doneCount++;
		}

		return this.#doneCount === this.#unitCount;
	}

	/**
	 * Takes the next free units from the front, at most `max`; undefined where there are none. @param taker from 1 on
	 */
	takeFirst(taker: number, max: number): Claim | undefined {
		while (this.#front < this.#unitCount && !this.#take(this.#front, taker)) {
			this.#front++;
		}

		const first = this.#front;
		let count = first < this.#unitCount ? 1 : 0;
		while (count > 0 && count < max && first + count < this.#unitCount && this.#take(first + count, taker)) {
			count++;
		}

		this.#front = first + count;
		return this.#claimed(first, count);
	}

	/** The same from the back. */
	takeLast(taker: number, max: number): Claim | undefined {
		while (this.#back >= 0 && !this.#take(this.#back, taker)) {
			this.#back--;
		}

		const last = this.#back;
		let count = last >= 0 ? 1 : 0;
		while (count > 0 && count < max && last - count >= 0 && this.#take(last - count, taker)) {
			count++;
		}

		this.#back = last - count;
		return this.#claimed(last - count + 1, count);
	}

	/** What was taken is done. All that was written for it is seen by whoever sees this. */
	finish({first, count}: Claim): void {
		for (let unit = first; unit < first + count; unit++) {
			Atomics.store(this.#fields, ownerFields + unit, done);
		}
	}

	/** Gives the units free that a thread has taken and not done; it must be gone, or know that it has failed. */
	release(taker: number): number {
		let count = 0;
		for (let unit = 0; unit < this.#unitCount; unit++) {
			if (Atomics.compareExchange(this.#fields, ownerFields + unit, taker, nobody) === taker) {
				count++;
			}
		}

		Atomics.add(this.#fields, freeField, count);
		this.#front = 0;
		this.#back = this.#unitCount - 1;
		return count;
	}

	#take(unit: number, taker: number): boolean {
		return Atomics.compareExchange(this.#fields, ownerFields + unit, nobody, taker) === nobody;
	}

	#claimed(first: number, count: number): Claim | undefined {
		if (count === 0) {
			return undefined;
		}

		Atomics.sub(this.#fields, freeField, count);
		return {first, count};
	}
}
