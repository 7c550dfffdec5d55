/** What the kernel says of a thread (proc(5)): whether it waits for a device, and for how long it had to wait for a CPU. */
import {readFileSync, readdirSync} from 'node:fs';

/** The state of a thread that waits for a device and hears no signal. */
const uninterruptible = 'D';

const nanosecondsPerMillisecond = 1_000_000;

/** True where the kernel keeps the thread waiting for a device. */
export function isWaitingForDevice(tid: number | undefined): boolean {
	if (tid === undefined) {
		return false;
	}

	try {
		// The name before it stands in parentheses and may hold anything.
		const stat = readFileSync(`/proc/${tid}/stat`, 'latin1');
		return stat.slice(stat.lastIndexOf(')') + 2).startsWith(uninterruptible);
	} catch {
		return false;
	}
}

/**
 * Milliseconds for which each thread of a process could have run and got no CPU, since it began, by thread id; empty where the kernel
 * does not count them.
 * @param tid any thread of the process
 */
export function queuedMs(tid: number | undefined): Map<number, number> {
	const queued = new Map<number, number>();
	if (tid === undefined) {
		return queued;
	}

	try {
		for (const name of readdirSync(`/proc/${tid}/task`)) {
			const [, nanoseconds] = readFileSync(`/proc/${tid}/task/${name}/schedstat`, 'latin1').split(' ');
			queued.set(Number(name), Number(nanoseconds) / nanosecondsPerMillisecond);
		}
	} catch {
		// A thread, or all of it, has ended meanwhile: what is known so far counts.
	}

	return queued;
}
