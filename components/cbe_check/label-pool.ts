/** Spreads the hashing over all CPUs that this component may use: hashing is nearly all of a check's work. */
import {Piscina} from 'piscina';
import {blockSize} from '../lib/format/geometry.js';
import {mismatchedBlocks, type LabelTask} from './label-task.js';

/** Below this many blocks handing the work to another thread costs more than doing it. */
const spreadBlockCountMin = 16;
const workerModule = new URL('label-worker.js', import.meta.url).href;

export class LabelPool {
	readonly #threadCount: number;
	#pool: Piscina<LabelTask, number[]> | undefined;

	constructor(threadCount: number) {
		this.#threadCount = threadCount;
	}

	/** Indices of the blocks that do not match. The blocks must not change until it resolves. */
	async mismatched(task: LabelTask): Promise<number[]> {
		if (this.#threadCount < 2 || task.blocks.length < spreadBlockCountMin * blockSize) {
			return mismatchedBlocks(task);
		}

		this.#pool ??= new Piscina({minThreads: this.#threadCount, maxThreads: this.#threadCount});
		// Named with each task and not for the pool, which would load it at once: Node aborts where a thread is ended
		// while it loads a module, and so no thread may be loading once every task has ended.
		return this.#pool.run(showable(task), {filename: workerModule});
	}

	/** Ends the threads. Every task must have ended. */
	async close(): Promise<void> {
		await this.#pool?.destroy();
	}
}

/**
 * Memory that is shared between threads goes over as it is. A view on a larger private buffer would take all of that
 * buffer along, so only its own part is copied.
 */
function showable(task: LabelTask): LabelTask {
	const {blocks} = task;
	const isPartOfMore = blocks.buffer instanceof ArrayBuffer && blocks.buffer.byteLength > blocks.byteLength;
	return isPartOfMore ? {...task, blocks: Uint8Array.from(blocks)} : task;
}
