/**
 * Random bytes straight from the kernel, one call for each draw. Libraries draw from a generator of their own in this
 * process's memory: a virtual machine that is set back or cloned repeats what that gives. The kernel is told of it
 * (Linux 5.18 and newer, by the hypervisor's VM generation id) and seeds itself anew. So nothing drawn is ever kept in
 * stock here.
 */
import koffi from 'koffi';
import {secretBytes} from './secret-memory.js';

let getrandom: ((into: Uint8Array, length: number, flags: number) => number | bigint) | undefined;

function draw(into: Uint8Array): number {
	getrandom ??= koffi
		.load(null)
		.func('int64_t getrandom(_Out_ uint8_t *into, size_t length, unsigned int flags)') as unknown as NonNullable<
		typeof getrandom
	>;
	return Number(getrandom(into, into.length, 0));
}

/**
 * Fills all of `bytes`; waits for the kernel's first seed, right after the machine has started.
 * @throws Error where the kernel gives none
 */
export function fillFromKernel(bytes: Uint8Array): void {
	// Only long draws are cut off, by a signal.
	for (let filled = 0; filled < bytes.length;) {
		const count = draw(filled === 0 ? bytes : bytes.subarray(filled));
		if (count < 0 && koffi.errno() !== koffi.os.errno.EINTR) {
			throw new Error(`the kernel gives no random bytes (getrandom failed with error ${koffi.errno()})`);
		}

		filled += Math.max(0, count);
	}
}

/** The caller wipes what becomes a key. */
export function kernelRandomBytes(count: number): Buffer {
	const bytes = secretBytes(count);
	fillFromKernel(bytes);
	return bytes;
}
