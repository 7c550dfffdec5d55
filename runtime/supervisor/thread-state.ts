/**
 * What the kernel says of a thread (proc(5)): whether it waits for a device, and for how long it had to wait for a CPU.
 */
import {readFileSync, readdirSync} from 'node:fs';

/** States of a thread: it waits for a device and hears no signal; it runs, or could run. */
const uninterruptible = 'D';
const runnable = 'R';

const nanosecondsPerMillisecond = 1_000_000;

function stateOf(task: string): string {
	// The name before it stands in parentheses and may hold anything.
	const stat = readFileSync(`${task}/stat`, 'latin1');
	return stat.slice(stat.lastIndexOf(')') + 2).charAt(0);
}

/** True where the kernel keeps the thread waiting for a device. */
export function isWaitingForDevice(tid: number | undefined): boolean {
	if (tid === undefined) {
		return false;
	}

	try {
		return stateOf(`/proc/${tid}`) === uninterruptible;
	} catch {
		return false;
	}
}

/** Milliseconds since the thread began. */
export interface ThreadTimes {
	readonly ranMs: number;
	/** It could have run and got no CPU. The kernel adds a wait when it is over. */
	readonly queuedMs: number;
	/** It runs now, or waits for a CPU. */
	readonly isRunnable: boolean;
}

/**
 * The times of each thread of a process, by thread id; empty where the kernel does not count them. @param tid any
 * thread of the process
 */
export function threadTimes(tid: number | undefined): Map<number, ThreadTimes> {
	const times = new Map<number, ThreadTimes>();
	if (tid === undefined) {
		return times;
	}

	try {
		for (const name of readdirSync(`/proc/${tid}/task`)) {
			const task = `/proc/${tid}/task/${name}`;
			const [ran, queued] = readFileSync(`${task}/schedstat`, 'latin1').split(' ').map(Number);
			times.set(Number(name), {
				ranMs: ran / nanosecondsPerMillisecond,
				queuedMs: queued / nanosecondsPerMillisecond,
				isRunnable: stateOf(task) === runnable,
			});
		}
	} catch {
		// A thread, or all of it, has ended meanwhile: what is known so far counts.
	}

	return times;
}

/** How long a thread got no CPU within the last `spanMs`, which began with the times `before`. */
export function unservedMs(before: ThreadTimes | undefined, now: ThreadTimes | undefined, spanMs: number): number {
	if (!before || !now) {
		return 0;
	}

	// The wait that still goes on is in no count: a thread that has something to do all the time waits when it does not
	// run.
	return now.isRunnable
		? Math.max(now.queuedMs - before.queuedMs, spanMs - (now.ranMs - before.ranMs))
		: now.queuedMs - before.queuedMs;
}
