/**
 * What it costs to wake a thread: a request between threads pays it for each message, so figures of two machines can be
 * understood only beside it.
 */
import {once} from 'node:events';
import {MessageChannel, Worker} from 'node:worker_threads';
import {median} from './statistics.js';

const workModule = new URL('wake-up-work.js', import.meta.url);
const passCount = 5;
const roundTripCount = 2000;

/** Microseconds of one way, half of a round trip, one message at a time. */
export interface WakeUps {
	/** A message to a thread that sleeps in its event loop: an eventfd. */
	readonly eventfdUs: number;
	/** `Atomics.notify` for a thread that sleeps in `Atomics.wait`: a futex. */
	readonly futexUs: number;
}

async function messagesUs(worker: Worker): Promise<number> {
	const {port1, port2} = new MessageChannel();
	worker.postMessage({port: port2}, [port2]);
	const startedMs = performance.now();
	await new Promise<void>(resolve => {
		let count = 0;
		port1.on('message', () => {
			count++;
			if (count === roundTripCount) {
				resolve();
			} else {
				port1.postMessage(count);
			}
		});
		port1.postMessage('first');
	});
	const elapsedMs = performance.now() - startedMs;
	port1.close();
	return (elapsedMs * 1000) / roundTripCount / 2;
}

async function futexesUs(worker: Worker): Promise<number> {
	// Odd values are this thread's, even ones the other's.
	const word = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
	const ready = once(worker, 'message');
	worker.postMessage({word, roundTripCount});
	await ready;
	const startedMs = performance.now();
	for (let asked = 1; asked < 2 * roundTripCount; asked += 2) {
		Atomics.store(word, 0, asked);
		Atomics.notify(word, 0);
		Atomics.wait(word, 0, asked);
	}

	return ((performance.now() - startedMs) * 1000) / roundTripCount / 2;
}

/** Takes about a second. */
export async function measureWakeUps(): Promise<WakeUps> {
	const worker = new Worker(workModule);
	const eventfds: number[] = [];
	const futexes: number[] = [];
	try {
		for (let pass = 0; pass < passCount; pass++) {
			eventfds.push(await messagesUs(worker));
			futexes.push(await futexesUs(worker));
		}
	} finally {
		await worker.terminate();
	}

	return {eventfdUs: median(eventfds), futexUs: median(futexes)};
}

export function wakeUpLines({eventfdUs, futexUs}: WakeUps): string[] {
	return [
		`Waking a thread, one way: ${eventfdUs.toFixed(1)} µs by a message (eventfd), ${futexUs.toFixed(1)} µs by Atomics.notify (futex).`,
		'',
	];
}
