/**
 * Whether it pays to wait for the next request without giving the thread up. Putting a thread to sleep and waking it
 * costs more than a small request, most of all on a virtual CPU; a client that sends one request after another need not
 * pay for that each time. One that takes its time costs one short wait, and no CPU from then on.
 */

/** So many requests in a row have to come soon before the thread waits for the next one. */
export const quickCountMin = 4;

export class BusyWait {
	readonly #limitMs: number;
	#client: object | undefined;
	#quickCount = 0;

	/** @param limitMs longest wait, 0 for never */
	constructor(limitMs: number) {
		this.#limitMs = limitMs;
	}

	/** How long to wait for this client's next request; 0 where it is not worth it. */
	msFor(client: object): number {
		return this.#client === client && this.#quickCount >= quickCountMin ? this.#limitMs : 0;
	}

	/** Requests came several at a time: these wait for each other anyway, and fewer at once would cost more. */
	crowded(): void {
		this.#quickCount = 0;
	}

	/** The client sent something, so long after the last reply. Where several take turns, none is waited for. */
	arrived(client: object, gapMs: number): void {
		const isQuick = gapMs <= this.#limitMs && client === this.#client;
		this.#quickCount = isQuick ? this.#quickCount + 1 : 0;
		this.#client = client;
	}
}
