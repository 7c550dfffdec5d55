/** What `runtime status` shows of each child. */
import {readFileSync} from 'node:fs';
import type {ChildFigures} from '../host/messages.js';
import type {DeploymentStatus} from './deployment-follower.js';
import type {ChildState, ManagedChild} from './managed-child.js';
import type {Supervision} from './supervision.js';

export interface ChildStatus {
	readonly name: string;
	readonly binary: string;
	readonly state: ChildState;
	/** Children of one group share a thread, and with it `tid`, `cpus` and `cpuMs`. */
	readonly group: string;
	/** The Linux thread id; null while the child has no thread. */
	readonly tid: number | null;
	/** CPUs on which the thread may run, as the kernel lists them: `0-1`. */
	readonly cpus: string;
	/** CPU time that the thread has used, in milliseconds. */
	readonly cpuMs: number;
	readonly sessions: number;
	readonly requests: number;
	/** Bytes of payload in these requests. */
	readonly bytes: number;
	/** Bytes of payload memory leased now. */
	readonly leasedBytes: number;
	readonly restarts: number;
	/** The component's own values. */
	readonly details: Readonly<Record<string, string | number>>;
}

export interface RuntimeStatus {
	readonly pid: number;
	/** Resident memory of the whole process, in bytes. */
	readonly residentBytes: number;
	/** Missing where the deployment comes from no file. */
	readonly deployment?: DeploymentStatus;
	readonly children: readonly ChildStatus[];
}

interface ThreadUse {
	readonly cpus: string;
	readonly cpuMs: number;
}

const nanosecondsPerMillisecond = 1_000_000;

/** What the kernel knows of one thread of this process. */
export function threadUse(tid: number): ThreadUse {
	try {
		const [nanoseconds] = readFileSync(`/proc/self/task/${tid}/schedstat`, 'utf8').split(' ');
		const status = readFileSync(`/proc/self/task/${tid}/status`, 'utf8');
		return {
			cpuMs: Math.round(Number(nanoseconds) / nanosecondsPerMillisecond),
			cpus: /^Cpus_allowed_list:\s*(.*)$/m.exec(status)?.[1] ?? '',
		};
	} catch {
		// The thread has ended meanwhile.
		return {cpus: '', cpuMs: 0};
	}
}

const noFigures: ChildFigures = {sessions: 0, requests: 0, bytes: 0, leasedBytes: 0, details: {}};

async function childStatus(supervision: Supervision, managed: ManagedChild): Promise<ChildStatus> {
	const {child, state, restartCount, group: {thread}} = managed;
	const figures = await supervision.inquire<Record<string, ChildFigures>>(managed, id => ({type: 'inspect', id}));
	const use = thread?.tid === undefined ? {cpus: '', cpuMs: 0} : threadUse(thread.tid);
	return {
		name: child.name,
		binary: child.binary,
		state,
		group: child.group,
		tid: thread?.tid ?? null,
		...use,
		...figures?.[child.name] ?? noFigures,
		restarts: restartCount,
	};
}

export async function runtimeStatus(supervision: Supervision, deployment?: DeploymentStatus): Promise<RuntimeStatus> {
	return {
		pid: process.pid,
		residentBytes: process.memoryUsage.rss(),
		deployment,
		children: await Promise.all([...supervision.children].map(async managed => childStatus(supervision, managed))),
	};
}
