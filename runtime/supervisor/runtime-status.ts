/** What `runtime status` shows of each child. */
import {readFileSync, readdirSync} from 'node:fs';
import {getHeapStatistics} from 'node:v8';
import type {ChildFigures} from '../host/messages.js';
import type {DeploymentStatus} from './deployment-follower.js';
import type {ChildState, ManagedChild} from './managed-child.js';
import type {Supervision} from './supervision.js';

export interface ChildStatus extends ChildFigures {
	readonly name: string;
	readonly binary: string;
	readonly state: ChildState;
	/** Children of one group share a thread, and with it `tid`, `cpus` and `cpuMs`. */
	readonly group: string;
	/** The Linux thread id; null while the child has no thread. */
	readonly tid: number | null;
	/** The process that is the child's, or its group's, alone; null where it is a thread of the runtime. */
	readonly pid: number | null;
	/** Resident memory of that process, in bytes. */
	readonly residentBytes?: number;
	/** CPUs on which the thread may run, as the kernel lists them: `0-1`. */
	readonly cpus: string;
	/** CPU time that the thread has used, in milliseconds. */
	readonly cpuMs: number;
	/** After faults, its own or of what it relies on. */
	readonly restarts: number;
	/** That a person has asked for. */
	readonly requestedRestarts: number;
}

export interface RuntimeStatus {
	readonly pid: number;
	/** Resident memory of the runtime's own process, in bytes. */
	readonly residentBytes: number;
	/** Bytes of the runtime's own heap, and of buffers beside it; those of its components are theirs. */
	readonly heapBytes: number;
	readonly externalBytes: number;
	/** Missing where the deployment comes from no file. */
	readonly deployment?: DeploymentStatus;
	readonly children: readonly ChildStatus[];
}

interface ThreadUse {
	readonly cpus: string;
	readonly cpuMs: number;
}

const nanosecondsPerMillisecond = 1_000_000;

function nanosecondsOf(task: string): number {
	return Number(readFileSync(`${task}/schedstat`, 'utf8').split(' ')[0]);
}

function cpusOf(task: string): string {
	return /^Cpus_allowed_list:\s*(.*)$/m.exec(readFileSync(`${task}/status`, 'utf8'))?.[1] ?? '';
}

/** What the kernel knows of one thread of this process. */
function threadUse(tid: number): ThreadUse {
	try {
		const task = `/proc/self/task/${tid}`;
		return {cpuMs: Math.round(nanosecondsOf(task) / nanosecondsPerMillisecond), cpus: cpusOf(task)};
	} catch {
		// The thread has ended meanwhile.
		return {cpus: '', cpuMs: 0};
	}
}

/** What the kernel knows of a process of a child's own, with all of its threads. */
function processUse(pid: number): ThreadUse & {readonly residentBytes: number} {
	try {
		const nanoseconds = readdirSync(`/proc/${pid}/task`).reduce(
			(sum, tid) => sum + nanosecondsOf(`/proc/${pid}/task/${tid}`),
			0,
		);
		const kibibytes = Number(/^VmRSS:\s*(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
		return {
			cpuMs: Math.round(nanoseconds / nanosecondsPerMillisecond),
			cpus: cpusOf(`/proc/${pid}`),
			residentBytes: kibibytes * 1024,
		};
	} catch {
		// The process has ended meanwhile.
		return {cpus: '', cpuMs: 0, residentBytes: 0};
	}
}

const noFigures: ChildFigures = {
	sessions: 0,
	requests: 0,
	bytes: 0,
	leasedBytes: 0,
	arenaBytes: 0,
	heapBytes: 0,
	externalBytes: 0,
	details: {},
};

async function childStatus(supervision: Supervision, managed: ManagedChild): Promise<ChildStatus> {
	const {
		child,
		state,
		restartCount,
		requestedRestartCount,
		group: {thread},
	} = managed;
	const figures = await supervision.query<Record<string, ChildFigures>>(managed, id => ({type: 'inspect', id}));
	const isProcess = managed.group.isolation !== undefined;
	const use =
		thread?.tid === undefined ? {cpus: '', cpuMs: 0} : isProcess ? processUse(thread.tid) : threadUse(thread.tid);
	return {
		name: child.name,
		binary: child.binary,
		state,
		group: child.group,
		tid: thread?.tid ?? null,
		pid: isProcess ? (thread?.pid ?? null) : null,
		...use,
		...(figures?.[child.name] ?? noFigures),
		restarts: restartCount,
		requestedRestarts: requestedRestartCount,
	};
}

export async function runtimeStatus(supervision: Supervision, deployment?: DeploymentStatus): Promise<RuntimeStatus> {
	const heap = getHeapStatistics();
	return {
		pid: process.pid,
		heapBytes: heap.total_heap_size,
		externalBytes: heap.external_memory,
		residentBytes: process.memoryUsage.rss(),
		deployment,
		children: await Promise.all([...supervision.children].map(async managed => childStatus(supervision, managed))),
	};
}
