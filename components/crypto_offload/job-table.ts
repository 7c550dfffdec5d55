/**
 * What threads that work on one batch share besides its payload: who does which blocks, the places of the blocks, their
 * labels, and which of them do not match. A table is shared memory that is used for one batch after another.
 */
import {sharedMemory, WorkClaims, type Claim} from '../../runtime/sdk/shared-work.js';
import {runBlockCountMax, runsOf, type Batch, type RunWork} from '../lib/crypto/batch-work.js';
import {labelLength} from '../sessions/cipher.js';
import type {PreparedKey} from '../lib/crypto/cipher-suite.js';
import type {Direction} from './cipher-task.js';

/** Blocks of one unit: as little as one thread may take, so that the last ones to be done are waited for shortly. */
export const unitBlockCount = 8;
/** A thread takes no more at once than one run. */
const unitCountMax = runBlockCountMax / unitBlockCount;
/** The smallest table is for this many blocks; each further size is for twice as many. */
const capacityMin = 256;

function unitsOf(blockCount: number): number {
	return Math.ceil(blockCount / unitBlockCount);
}

/** The capacity of the table for a batch. */
export function capacityFor(blockCount: number): number {
	return Math.max(capacityMin, 2 ** Math.ceil(Math.log2(blockCount)));
}

function layoutOf(capacity: number) {
	const addresses = Math.ceil(WorkClaims.byteLength(unitsOf(capacity)) / 8) * 8;
	const vbas = addresses + capacity * 8;
	const generations = vbas + capacity * 8;
	const labels = generations + capacity * 8;
	const mismatches = labels + capacity * labelLength;
	return {addresses, vbas, generations, labels, mismatches, end: mismatches + capacity};
}

export function makeTableMemory(capacity: number): Uint8Array {
	return sharedMemory(layoutOf(capacity).end);
}

/** What is to be done with the blocks of a batch. */
export interface JobDescription {
	readonly direction: Direction;
	readonly key: PreparedKey;
	readonly batch: Batch;
}

/** One thread's view of a table, for one batch. */
export class JobTable {
	readonly blockCount: number;
	readonly addresses: Float64Array;
	readonly vbas: Float64Array;
	readonly generations: Float64Array;
	/** 32 bytes a block. */
	readonly labels: Uint8Array;
	readonly claims: WorkClaims;
	/** Not 0 where a block does not match its label. */
	readonly #mismatches: Uint8Array;

	constructor(memory: Uint8Array, capacity: number, blockCount: number) {
		const layout = layoutOf(capacity);
		const numbersAt = (offset: number) => new Float64Array(memory.buffer, memory.byteOffset + offset, blockCount);
		const bytesAt = (offset: number, length: number) =>
			new Uint8Array(memory.buffer, memory.byteOffset + offset, length);
		this.blockCount = blockCount;
		this.addresses = numbersAt(layout.addresses);
		this.vbas = numbersAt(layout.vbas);
		this.generations = numbersAt(layout.generations);
		this.labels = bytesAt(layout.labels, blockCount * labelLength);
		this.claims = new WorkClaims(memory, unitsOf(blockCount));
		this.#mismatches = bytesAt(layout.mismatches, blockCount);
	}

	/** Begins a batch. Nobody else may use the table's memory now. */
	fill({addresses, vbas, generations}: Batch, labels: Uint8Array): void {
		this.addresses.set(addresses);
		this.vbas.set(vbas);
		this.generations.set(generations);
		this.labels.set(labels);
		this.#mismatches.fill(0);
		this.claims.open();
	}

	/**
	 * How many units to take at once: many while there are many, so that taking costs little, few towards the end of
	 * what is shared.
	 */
	unitsAtOnce(threadCount: number): number {
		return threadCount === 1
			? unitCountMax
			: Math.max(1, Math.min(unitCountMax, Math.floor(this.claims.freeCount / (2 * threadCount))));
	}

	/** How many blocks belong to what was taken. */
	blockCountOf(claim: Claim): number {
		const [first, end] = this.#blocksOf(claim);
		return end - first;
	}

	/**
	 * Does the blocks that belong to what was taken: their labels, or which of them do not match, are in the table
	 * then.
	 */
	work(runs: RunWork, {direction, key, batch}: JobDescription, claim: Claim): void {
		const mismatched: number[] = [];
		for (const run of runsOf(batch, ...this.#blocksOf(claim))) {
			if (direction === 'seal') {
				runs.seal(key, run, this.labels);
			} else {
				runs.open(key, run, this.labels, mismatched);
			}
		}

		for (const index of mismatched) {
			this.#mismatches[index] = 1;
		}
	}

	/** Indexes in the batch, ascending. */
	get mismatched(): number[] {
		const indexes: number[] = [];
		for (let index = this.#mismatches.indexOf(1); index !== -1; index = this.#mismatches.indexOf(1, index + 1)) {
			indexes.push(index);
		}

		return indexes;
	}

	/** The first of the blocks that belong to what was taken, and the one behind the last. */
	#blocksOf({first, count}: Claim): [number, number] {
		return [first * unitBlockCount, Math.min(this.blockCount, (first + count) * unitBlockCount)];
	}
}
