/** What a pool thread is asked to do, and what it answers. Payload lies in shared memory, so only its place travels. */
import type {KeyContexts} from '../libcrypto/evp-suite.js';

export type Direction = 'seal' | 'open';

/** Some blocks of one batch. */
export interface CipherPiece {
	readonly direction: Direction;
	/** For this thread alone, until it answers. */
	readonly key: KeyContexts;
	readonly addresses: Float64Array;
	readonly vbas: Float64Array;
	readonly generations: Float64Array;
	readonly plain: readonly Uint8Array[];
	readonly sealed: Uint8Array;
	/** 32 bytes a block; where they are sealed, the nonces of an authenticated key are there. */
	readonly labels: Uint8Array;
}

export interface PieceResult {
	/** Of what was sealed. */
	readonly labels: Uint8Array | undefined;
	/** Indexes in the piece. */
	readonly mismatched: readonly number[];
}

/** What all threads of a pool are given when they start. */
export interface ThreadPlace {
	/** CPUs to run on; those of the component where there are none. */
	readonly cpus: readonly number[];
}
