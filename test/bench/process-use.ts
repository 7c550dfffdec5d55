/** What the kernel knows of a running process. */
import {readFileSync} from 'node:fs';

/** Linux reports CPU time in ticks of 10 ms, whatever the kernel's own timer does. */
const microsecondsPerTick = 10_000;

/** CPU time that all threads of a process have used, in microseconds. */
export function cpuTimeUs(pid: number): number {
	const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
	// The name in parentheses may hold spaces; the third field follows it.
	const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
	return (Number(fields[11]) + Number(fields[12])) * microsecondsPerTick;
}

export interface MemoryUse {
	/** Most resident memory that the process ever had (VmHWM), in bytes. */
	readonly peakByteLength: number;
	/** Resident memory now (VmRSS), in bytes. */
	readonly byteLength: number;
}

export function memoryUse(pid: number): MemoryUse {
	const status = readFileSync(`/proc/${pid}/status`, 'utf8');
	const kibibytes = (name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? Number.NaN);
	return {peakByteLength: kibibytes('VmHWM') * 1024, byteLength: kibibytes('VmRSS') * 1024};
}
