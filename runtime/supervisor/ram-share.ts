/**
 * How a RAM quantum is divided: half of it, up to 64 MiB, bounds the JavaScript heap of the worker, all the rest is what
 * the component may lease as payload memory. Children on one thread share one heap: the sum of their halves.
 */
import type {ResourceLimits} from 'node:worker_threads';

const mebibyte = 2 ** 20;

/** Less cannot hold the modules of a component. */
export const ramQuantumMin = 32 * mebibyte;

const heapShareMax = 64 * mebibyte;

/** The young generation's part of the heap: short-lived objects of requests live here. */
const youngGenerationMax = 16 * mebibyte;

/** Bytes of heap. */
export function heapShare(ramQuantum: number): number {
	return Math.min(ramQuantum / 2, heapShareMax);
}

/** Bytes of payload memory. */
export function bufferShare(ramQuantum: number): number {
	return ramQuantum - heapShare(ramQuantum);
}

export function heapLimits(ramQuanta: readonly number[]): ResourceLimits {
	const heap = ramQuanta.reduce((sum, quantum) => sum + heapShare(quantum), 0);
	const young = Math.min(heap / 4, youngGenerationMax);
	return {
		maxYoungGenerationSizeMb: Math.floor(young / mebibyte),
		maxOldGenerationSizeMb: Math.floor((heap - young) / mebibyte),
	};
}
