/** What the kernel says of a thread (proc(5)): whether it waits for a device, and for how long it had to wait for a CPU. */
import {readFileSync} from 'node:fs';

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

/** Milliseconds for which the thread could have run and got no CPU, since it began; 0 where the kernel does not count them. */
export function queuedMs(tid: number | undefined): number {
	if (tid === undefined) {
		return 0;
	}

	try {
		const [, queued] = readFileSync(`/proc/${tid}/schedstat`, 'latin1').split(' ');
		return Number(queued) / nanosecondsPerMillisecond;
	} catch {
		return 0;
	}
}
