/**
 * How a thread sleeps, and how others wake it.
 *
 * A thread that nothing but its sessions can wake sleeps at its bell, a word of shared memory: there a wake-up costs half
 * of what it costs in the event loop. After `bellMsMax` without a message it goes to sleep in the event loop, where
 * nothing has to look at a clock. All others (with sockets, files, threads of their own) sleep in the event loop alone.
 *
 * The word says which of the two it is. Who has put something into a ring of the thread looks at it afterwards, and the
 * thread looks at its rings after it has set the word: one of the two sees the other (Atomics are sequentially
 * consistent).
 */

/** The thread looks at its rings again before it sleeps: nobody has to wake it. */
const awake = 0;
const atBell = 1;
const inLoop = 2;

/** A cache line of its own. */
const bellByteLength = 64;

/** How long a thread sleeps at its bell at once; as late it may see what was sent past the bell. */
const bellMsMax = 20;

/** The word at which a thread sleeps. */
export type Bell = Int32Array;

export function makeBell(): Bell {
	const bell = new Int32Array(new SharedArrayBuffer(bellByteLength));
	bell[0] = inLoop;
	return bell;
}

/** Wakes a thread that sleeps at its bell; true where it sleeps in its event loop and a message has to wake it there. */
export function ring(bell: Bell): boolean {
	for (;;) {
		const state = Atomics.load(bell, 0);
		if (state === awake) {
			return false;
		}

		if (Atomics.compareExchange(bell, 0, state, awake) === state) {
			if (state === inLoop) {
				return true;
			}

			Atomics.notify(bell, 0);
			return false;
		}
	}
}

/** Has a thread that sleeps at its bell look into its event loop, where a message waits for it. */
export function nudge(bell: Bell): void {
	if (Atomics.compareExchange(bell, 0, atBell, awake) === atBell) {
		Atomics.notify(bell, 0);
	}
}

/** What a thread looks at before it sleeps. */
export interface Inbox {
	/** True where something waits. */
	readonly isFilled: boolean;
	/** Takes everything that waits. */
	empty(): void;
}

/** How often a thread has gone to sleep in each of the two places. */
export interface SleepCounts {
	readonly atBell: number;
	readonly inLoop: number;
}

export class Doorbell {
	#bell: Bell;
	readonly #inboxes: Inbox[] = [];
	/** Nothing but sessions wakes the components of this thread. */
	#isAlone = false;
	/** Work under way that ends in the event loop. */
	#outsideCount = 0;
	readonly #alarms = new Set<number>();
	#isTurnDue = false;
	#atBellCount = 0;
	#inLoopCount = 0;
	readonly #turn = (): void => {
		this.#look();
	};

	constructor(bell: Bell) {
		this.#bell = bell;
	}

	get bell(): Bell {
		return this.#bell;
	}

	get counts(): SleepCounts {
		return {atBell: this.#atBellCount, inLoop: this.#inLoopCount};
	}

	/** The bell by which others know this thread, before anything was added. */
	use(bell: Bell): void {
		this.#bell = bell;
	}

	/** From now on nothing but sessions and `sleep` wakes this thread, but for work that `outside` is told of. */
	serveSessionsOnly(): void {
		this.#isAlone = true;
	}

	add(inbox: Inbox): void {
		this.#inboxes.push(inbox);
	}

	remove(inbox: Inbox): void {
		const index = this.#inboxes.indexOf(inbox);
		if (index >= 0) {
			this.#inboxes.splice(index, 1);
		}
	}

	/** A message has come through the event loop: looks at everything, and again before the thread sleeps. */
	wake(): void {
		Atomics.store(this.#bell, 0, awake);
		this.#emptyAll();
		// Not asleep right here: more may wait in the event loop.
		this.#lookSoon();
	}

	/** Waits for something that ends in the event loop: meanwhile the thread sleeps there. */
	async outside<T>(work: Promise<T>): Promise<T> {
		this.#outsideCount++;
		try {
			return await work;
		} finally {
			this.#outsideCount--;
		}
	}

	/** @param wait resolves in the event loop after so many milliseconds */
	async sleep(milliseconds: number, wait: (milliseconds: number) => Promise<void>): Promise<void> {
		if (milliseconds <= bellMsMax) {
			await this.outside(wait(milliseconds));
			return;
		}

		const alarm = performance.now() + milliseconds;
		this.#alarms.add(alarm);
		try {
			await wait(milliseconds);
		} finally {
			this.#alarms.delete(alarm);
		}
	}

	/** One look at all that may have come. What it starts goes on after it, so the next look comes before any sleep. */
	#look(): void {
		this.#isTurnDue = false;
		if (this.#emptyAll() || !this.#fallAsleep()) {
			this.#lookSoon();
		}
	}

	#lookSoon(): void {
		if (!this.#isTurnDue) {
			this.#isTurnDue = true;
			setImmediate(this.#turn);
		}
	}

	#emptyAll(): boolean {
		let isFilled = false;
		// By index: what a message starts may add or remove inboxes.
		for (let i = 0; i < this.#inboxes.length; i++) {
			const inbox = this.#inboxes[i];
			if (inbox.isFilled) {
				isFilled = true;
				inbox.empty();
			}
		}

		return isFilled;
	}

	get #isFilled(): boolean {
		return this.#inboxes.some(inbox => inbox.isFilled);
	}

	/** False where there is something to do again; true where the thread goes on into its event loop, to sleep there. */
	#fallAsleep(): boolean {
		const limit = this.#isAlone && this.#outsideCount === 0 ? this.#bellMs() : 0;
		if (limit > 0 && !this.#sleepAtBell(limit)) {
			return false;
		}

		this.#inLoopCount++;
		Atomics.store(this.#bell, 0, inLoop);
		return !this.#isFilled || Atomics.compareExchange(this.#bell, 0, inLoop, awake) !== inLoop;
	}

	/** True where nothing came until then. */
	#sleepAtBell(milliseconds: number): boolean {
		Atomics.store(this.#bell, 0, atBell);
		if (this.#isFilled) {
			Atomics.store(this.#bell, 0, awake);
			return false;
		}

		this.#atBellCount++;
		if (Atomics.wait(this.#bell, 0, atBell, milliseconds) === 'timed-out') {
			return true;
		}

		// What woke the thread is at hand: no turn of the event loop before it.
		this.#emptyAll();
		return false;
	}

	/** How long it may sleep at its bell; 0 where somebody has to be woken in the event loop before. */
	#bellMs(): number {
		let limit = bellMsMax;
		if (this.#alarms.size > 0) {
			const now = performance.now();
			for (const alarm of this.#alarms) {
				limit = Math.min(limit, alarm - now);
			}
		}

		return limit;
	}
}

/** The bell of this thread. */
export const doorbell = new Doorbell(makeBell());
