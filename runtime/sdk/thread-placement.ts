/** Where and how urgently an OS thread runs. Works on single threads of this process, never on the process. */
import {Buffer} from 'node:buffer';
import koffi from 'koffi';

/** CPUs that a mask can name, as in glibc's cpu_set_t. */
const cpuCountMax = 1024;
/** setpriority(2): `who` is a thread id. */
const prioProcess = 0;

interface Scheduler {
	setAffinity(tid: number, byteLength: number, mask: Buffer): number;
	setPriority(which: number, tid: number, nice: number): number;
}

let scheduler: Scheduler | undefined;

function loadScheduler(): Scheduler {
	const libc = koffi.load(null);
	return {
		setAffinity: libc.func(
			'int sched_setaffinity(int tid, size_t length, const void *mask)',
		) as Scheduler['setAffinity'],
		setPriority: libc.func('int setpriority(int which, int tid, int nice)') as Scheduler['setPriority'],
	};
}

/** Lets the thread run on these CPUs only. @throws Error where the system refuses */
export function pinThread(tid: number, cpus: readonly number[]): void {
	const mask = Buffer.alloc(cpuCountMax / 8);
	for (const cpu of cpus) {
		mask[cpu >> 3] |= 1 << (cpu & 7);
	}

	scheduler ??= loadScheduler();
	if (scheduler.setAffinity(tid, mask.length, mask) !== 0) {
		throw new Error(`the thread cannot be pinned to CPU ${cpus.join(', ')} (error ${koffi.errno()})`);
	}
}

/** Sets the nice value of the thread: -20 runs first, 19 last. @throws Error where the system refuses */
export function setNice(tid: number, nice: number): void {
	scheduler ??= loadScheduler();
	if (scheduler.setPriority(prioProcess, tid, nice) !== 0) {
		throw new Error(`the priority ${nice} is not permitted (error ${koffi.errno()})`);
	}
}
