/** What a pool thread is asked to help with, and what it answers. All that is large lies in shared memory. */
import type {KeyContexts} from '../lib/crypto/evp-suite.js';

export type Direction = 'seal' | 'open';

/** One batch. The thread does of it what nobody else has taken, until nothing is left. */
export interface CipherTask {
	readonly direction: Direction;
	/** For this thread alone. Used for blocks that it has taken only: without any, they may be wiped already. */
	readonly key: KeyContexts;
	readonly plain: readonly Uint8Array[];
	readonly sealed: Uint8Array;
	/** Memory of the table, for how many blocks it is, and how many there are in it. */
	readonly table: Uint8Array;
	readonly capacity: number;
	readonly blockCount: number;
	/** By which number this thread takes blocks, and how many threads do. */
	readonly taker: number;
	readonly threadCount: number;
}

export interface TaskReport {
	/** When the thread began and ended, by the clock that all threads share. */
	readonly startUs: number;
	readonly endUs: number;
	readonly blockCount: number;
}

/** What all threads of a pool are given when they start. */
export interface ThreadPlace {
	/** CPUs to run on; those of the component where there are none. */
	readonly cpus: readonly number[];
}
