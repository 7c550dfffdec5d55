/**
 * Threads load their modules when descriptors allow it. With Node.js 20 a thread opens what it imports all at once,
 * some hundred files; where the process may have few, threads take turns, one at least. Later versions read one file
 * after another.
 */
import {openFileCount, openFilesMax} from '../sdk/open-files.js';

const [nodeMajor] = process.versions.node.split('.').map(Number);

/** Descriptors that a thread needs while it loads, at most; measured with Node.js 20.19, 22, 24 and 26. */
export const loadingDescriptorCount = nodeMajor < 22 ? 112 : 16;

/** What is left to everything else that goes on meanwhile. */
const spareDescriptorCount = 16;

export class LoadLimiter {
	readonly #max: number;
	readonly #openCount: () => number | undefined;
	#loadingCount = 0;
	readonly #waiting = new Set<() => void>();

	/** @param openCount descriptors that are open now */
	constructor(max = openFilesMax() ?? Infinity, openCount = openFileCount) {
		this.#max = max;
		this.#openCount = openCount;
	}

	/**
	 * Calls `begin` when it may load: at once, or when others have. Replies with what ends the turn, also one that has
	 * not come.
	 */
	acquire(begin: () => void): () => void {
		let isOver = false;
		let hasBegun = false;
		const turn = () => {
			hasBegun = true;
			this.#loadingCount++;
			begin();
		};

		if (this.#waiting.size === 0 && this.#mayBegin()) {
			turn();
		} else {
			this.#waiting.add(turn);
		}

		return () => {
			if (!isOver) {
				isOver = true;
				this.#waiting.delete(turn);
				this.#loadingCount -= hasBegun ? 1 : 0;
				this.#proceed();
			}
		};
	}

	#mayBegin(): boolean {
		// What those before have yet to open counts as open.
		return (
			this.#loadingCount === 0 ||
			(this.#openCount() ?? Infinity) +
				(this.#loadingCount + 1) * loadingDescriptorCount +
				spareDescriptorCount <=
				this.#max
		);
	}

	#proceed(): void {
		for (const turn of this.#waiting) {
			if (!this.#mayBegin()) {
				return;
			}

			this.#waiting.delete(turn);
			turn();
		}
	}
}

/** Those of this process. */
export const loadLimiter = new LoadLimiter();
