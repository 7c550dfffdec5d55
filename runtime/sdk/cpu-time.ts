/** The CPU time of one thread: what its work costs, however busy the machine is meanwhile. */
import koffi from 'koffi';

/** CLOCK_THREAD_CPUTIME_ID. */
const threadClock = 3;

let clockGettime: ((clock: number, time: BigInt64Array) => number) | undefined;

/** Milliseconds of CPU time that the calling thread has used. @throws Error where the system does not tell */
export function threadCpuMs(): number {
	clockGettime ??= koffi
		.load(null)
		.func('int clock_gettime(int clock, _Out_ int64_t *time)') as unknown as NonNullable<typeof clockGettime>;
	const time = new BigInt64Array(2);
	if (clockGettime(threadClock, time) !== 0) {
		throw new Error(`the CPU time of a thread cannot be read (error ${koffi.errno()})`);
	}

	return Number(time[0]) * 1e3 + Number(time[1]) / 1e6;
}
