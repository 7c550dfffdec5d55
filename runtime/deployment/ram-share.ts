/**
 * How a RAM quantum is divided: half of it, from 24 to 64 MiB, bounds the JavaScript heap of the worker, all the rest
 * is what the component may lease as payload memory. Children on one thread share one heap: the sum of their shares.
 */
import type {ResourceLimits} from 'node:worker_threads';

const mebibyte = 2 ** 20;

/** Less would leave a component no payload memory beside its heap. */
export const ramQuantumMin = 32 * mebibyte;

/**
 * The modules of the largest component, the runtime's own and Node's stay at 8 to 11 MiB and need up to 13 MiB of old
 * generation while they are loaded, by Node's version (20.19, 22, 24, 26). Three quarters of this are old generation.
 */
const heapShareMin = 24 * mebibyte;

/** For whoever is told that a heap was too small. */
export const quantumRemedy =
	'raise its <resource name="RAM" quantum>; "runtime check" says what an empty component needs';

const heapShareMax = 64 * mebibyte;

/** The young generation's part of the heap: short-lived objects of requests live here. */
const youngGenerationMax = 16 * mebibyte;

/** Bytes of heap. */
export function heapShare(ramQuantum: number): number {
	return Math.min(Math.max(ramQuantum / 2, heapShareMin), heapShareMax);
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
