/** Progress lines of a check, one every two seconds at most. */
import type {Environment} from '../../runtime/sdk/component.js';
import {blockSize} from '../lib/format/geometry.js';

const intervalMs = 2000;
const mebibyte = 2 ** 20;

export class Progress {
	readonly #env: Pick<Environment, 'log' | 'now'>;
	readonly #leafCount: number;
	readonly #beginMs: number;
	#lastMs: number;
	#leavesPassed = 0;
	#blocksRead = 0;

	/** @param leafCount leaves of all trees, each counted once. */
	constructor(env: Pick<Environment, 'log' | 'now'>, leafCount: number) {
		this.#env = env;
		this.#leafCount = leafCount;
		this.#beginMs = env.now();
		this.#lastMs = this.#beginMs;
	}

	get blocksRead(): number {
		return this.#blocksRead;
	}

	get seconds(): number {
		return (this.#env.now() - this.#beginMs) / 1000;
	}

	/** Mebibytes a second since the beginning. */
	get rate(): number {
		return (this.#blocksRead * blockSize) / mebibyte / Math.max(this.seconds, 0.001);
	}

	countRead(blockCount: number): void {
		this.#blocksRead += blockCount;
		const now = this.#env.now();
		if (now - this.#lastMs >= intervalMs) {
			this.#lastMs = now;
			this.#env.log(
				`${Math.floor((100 * this.#leavesPassed) / this.#leafCount)} % checked, ${this.rate.toFixed(0)} MiB/s`,
			);
		}
	}

	/** The walk stands behind this many leaves, those of the trees before included. */
	pass(leavesPassed: number): void {
		this.#leavesPassed = leavesPassed;
	}
}
