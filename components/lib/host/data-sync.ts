/**
 * Makes what was written to a file durable. A sync that takes less time than handing it to another thread does (a file
 * system in memory, a disk with a safe cache) runs at once; where syncs take longer they never hold up the thread.
 */
import fs from 'node:fs';
import {promisify} from 'node:util';
import {Pace} from './pace.js';

const fdatasync = promisify(fs.fdatasync);

export class DataSync {
	readonly #now: () => number;
	readonly #pace = new Pace({atOnceMsMax: 0.25, handedOverMsMax: 0.5});

	/** @param now milliseconds, with fractions */
	constructor(now: () => number) {
		this.#now = now;
	}

	/** False while syncs are handed to another thread. */
	get atOnce(): boolean {
		return this.#pace.isQuick;
	}

	/** Every write to the file that has ended is durable once this resolves. @throws what the host says */
	async run(fd: number): Promise<void> {
		const startMs = this.#now();
		if (this.#pace.isQuick) {
			fs.fdatasyncSync(fd);
			this.#pace.tookAtOnce(this.#now() - startMs);
			return;
		}

		await fdatasync(fd);
		this.#pace.tookHandedOver(this.#now() - startMs);
	}
}
