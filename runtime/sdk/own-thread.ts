/** The thread that calls, for components that start threads of their own. These inherit the CPUs of the component's. */
import {readFileSync} from 'node:fs';
import {pinThread} from './thread-placement.js';

/** Numbers of the CPUs on which the calling thread may run, in ascending order. */
export function cpusOfOwnThread(): number[] {
	const list = /^Cpus_allowed_list:\s*(\S+)$/m.exec(readFileSync('/proc/thread-self/status', 'latin1'))?.[1] ?? '';
	return parseCpuList(list) ?? [];
}

/** Lets the calling thread run on these CPUs only. @throws Error where one of them cannot be used */
export function pinOwnThread(cpus: readonly number[]): void {
	// 0 is the thread that calls.
	pinThread(0, cpus);
	const allowed = cpusOfOwnThread();
	const missing = cpus.filter(cpu => !allowed.includes(cpu));
	if (missing.length > 0) {
		throw new Error(`CPU ${missing.join(', ')} is not there or not allowed`);
	}
}

/** Reads a list of CPUs as taskset and the kernel write it, such as `0,2-3`; undefined where it is none. */
export function parseCpuList(list: string): number[] | undefined {
	const cpus = new Set<number>();
	for (const range of list.split(',')) {
		const [, first, last = first] = /^(\d{1,4})(?:-(\d{1,4}))?$/.exec(range) ?? [];
		if (first === undefined || Number(last) < Number(first)) {
			return undefined;
		}

		for (let cpu = Number(first); cpu <= Number(last); cpu++) {
			cpus.add(cpu);
		}
	}

	return [...cpus].sort((a, b) => a - b);
}

/** Microseconds by a clock that all threads of the process share; they only ever grow. */
export function sharedMicroseconds(): number {
	const [seconds, nanoseconds] = process.hrtime();
	return seconds * 1e6 + nanoseconds / 1e3;
}
