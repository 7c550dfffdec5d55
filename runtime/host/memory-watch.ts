/**
 * Watches memory that is neither heap nor leased: buffers that a component allocates itself. The heap's limit is kept
 * by the JavaScript engine, the limit of leases by their pool.
 */
import {getHeapStatistics} from 'node:v8';

const intervalMs = 500;

/** The engine looks for unreachable buffers only after this much of them has come up, so it does not count. */
const garbageAllowance = 64 * 2 ** 20;

/** Calls `onExceeded` with a reason when the thread's own buffers outgrow the RAM quantum. */
export function watchMemory(ramQuantum: number, onExceeded: (reason: string) => void): void {
	setInterval(() => {
		const byteLength = getHeapStatistics().external_memory;
		if (byteLength > ramQuantum + garbageAllowance) {
			onExceeded(`exceeded its RAM quantum: ${byteLength} bytes of buffers outside of its payload memory`);
		}
	}, intervalMs).unref();
}
