/**
 * Calls without an answer, each under a small number that is used again once it is free. (A map under ever growing
 * numbers would be copied again and again, and make the collector's work the larger part of a call.)
 */
export class CallTable<Call> {
	readonly #capacity: number;
	readonly #calls: Array<Call | undefined> = [];
	readonly #free: number[] = [];
	/** When each number was given out, in calls; orders `entries`. */
	readonly #times: number[] = [];
	#addedCount = 0;

	constructor(capacity: number) {
		this.#capacity = capacity;
	}

	get isFull(): boolean {
		return this.#free.length === 0 && this.#calls.length >= this.#capacity;
	}

	add(call: Call): number {
		const number = this.#free.pop() ?? this.#calls.length;
		this.#calls[number] = call;
		this.#times[number] = ++this.#addedCount;
		return number;
	}

	/** Takes a call out; undefined where no call has this number. */
	take(number: number): Call | undefined {
		const call = this.#calls[number];
		if (call) {
			this.#calls[number] = undefined;
			this.#free.push(number);
		}

		return call;
	}

	/** Calls with their numbers, oldest first. */
	entries(): Array<[number, Call]> {
		const entries: Array<[number, Call]> = [];
		for (const [number, call] of this.#calls.entries()) {
			if (call) {
				entries.push([number, call]);
			}
		}

		return entries.sort(([left], [right]) => this.#times[left] - this.#times[right]);
	}
}
