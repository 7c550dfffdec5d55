/**
 * Makes what was written to a file durable. A sync that takes less time than handing it to another thread does (a file
 * system in memory, a disk with a safe cache) runs at once; where syncs take longer they never hold up the thread.
 */
import fs from 'node:fs';
import {promisify} from 'node:util';

const fdatasync = promisify(fs.fdatasync);

/** A sync at once that took longer was slow: the next ones are handed over. */
const quickMsMax = 0.25;
/** Handed over, it also waits for two threads to wake up. */
const quickHandedOverMsMax = 0.5;
/** After as many quick ones in a row, syncs run at once again. */
const quickCountMin = 16;

export class DataSync {
	readonly #now: () => number;
	#atOnce = true;
	#quickCount = 0;

	/** @param now milliseconds, with fractions */
	constructor(now: () => number) {
		this.#now = now;
	}

	/** False while syncs are handed to another thread. */
	get atOnce(): boolean {
		return this.#atOnce;
	}

	/** Every write to the file that has ended is durable once this resolves. @throws what the host says */
	async run(fd: number): Promise<void> {
		const startMs = this.#now();
		if (this.#atOnce) {
			fs.fdatasyncSync(fd);
			this.#atOnce = this.#now() - startMs <= quickMsMax;
			return;
		}

		await fdatasync(fd);
		this.#quickCount = this.#now() - startMs <= quickHandedOverMsMax ? this.#quickCount + 1 : 0;
		if (this.#quickCount === quickCountMin) {
			this.#quickCount = 0;
			this.#atOnce = true;
		}
	}
}
