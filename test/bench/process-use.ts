/** What the kernel knows of a running process. */
import {readFileSync, readdirSync} from 'node:fs';

/** Linux reports CPU time in ticks of 10 ms, whatever the kernel's own timer does. */
const microsecondsPerTick = 10_000;

/** A process and all that it started, as far as these still run. */
function processTree(pid: number): number[] {
	const children = new Map<number, number[]>();
	for (const name of readdirSync('/proc')) {
		if (/^\d+$/.test(name)) {
			const parent = Number(fieldsOf(Number(name))?.[1]);
			children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
		}
	}

	const tree = [pid];
	for (const member of tree) {
		tree.push(...(children.get(member) ?? []));
	}

	return tree;
}

/** The fields of /proc/PID/stat from the third one on, undefined where the process is gone. */
function fieldsOf(pid: number): string[] | undefined {
	try {
		const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
		// The name in parentheses may hold spaces.
		return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
	} catch {
		return undefined;
	}
}

/** CPU time that all threads of a process and of those that it started have used, in microseconds. */
export function cpuTimeUs(pid: number): number {
	return processTree(pid).reduce((sum, member) => {
		const fields = fieldsOf(member);
		return fields ? sum + (Number(fields[11]) + Number(fields[12])) * microsecondsPerTick : sum;
	}, 0);
}

export interface MemoryUse {
	/** Most resident memory that each process ever had (VmHWM), in bytes. */
	readonly peakByteLength: number;
	/** Resident memory now (VmRSS), in bytes. */
	readonly byteLength: number;
}

/** Of a process and of those that it started, added up: what they share counts for each. */
export function memoryUse(pid: number): MemoryUse {
	const statuses = processTree(pid).map(member => {
		try {
			return readFileSync(`/proc/${member}/status`, 'utf8');
		} catch {
			return '';
		}
	});
	const sum = (name: string) =>
		statuses.reduce(
			(bytes, status) => bytes + Number(new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(status)?.[1] ?? 0) * 1024,
			0,
		);
	return {peakByteLength: sum('VmHWM'), byteLength: sum('VmRSS')};
}
