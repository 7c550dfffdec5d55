/**
 * When requests may be refused since the device is locked: from the moment somebody asks for the lock until it was
 * unlocked.
 */

export interface LockNote {
	readonly changeCount: number;
	readonly isClosed: boolean;
}

export class LockModel {
	#isClosed: boolean;
	#changeCount = 0;

	constructor(isClosed = false) {
		this.#isClosed = isClosed;
	}

	get isClosed(): boolean {
		return this.#isClosed;
	}

	/** Somebody asks for the lock. */
	beginLocking(): void {
		this.#isClosed = true;
		this.#changeCount++;
	}

	/** The device is unlocked, or was never locked. */
	noteUnlocked(): void {
		this.#isClosed = false;
		this.#changeCount++;
	}

	/** What is true when a request begins. */
	note(): LockNote {
		return {changeCount: this.#changeCount, isClosed: this.#isClosed};
	}

	/** Whether a request that began with this note may have met the lock. */
	mayHaveMet({changeCount, isClosed}: LockNote): boolean {
		return isClosed || this.#changeCount > changeCount;
	}
}
