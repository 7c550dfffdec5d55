/** Where threads spend their time: self times of functions, from the profiles that node leaves. */
import {readFileSync, readdirSync} from 'node:fs';
import {join} from 'node:path';

interface ProfileNode {
	readonly id: number;
	readonly callFrame: {readonly functionName: string; readonly url: string; readonly lineNumber: number};
}

interface Profile {
	readonly nodes: readonly ProfileNode[];
	/** Microseconds of the monotonic clock. */
	readonly startTime: number;
	readonly samples: readonly number[];
	readonly timeDeltas: readonly number[];
}

export interface ThreadProfile {
	/** The components on the thread. */
	readonly thread: string;
	/** Part of the window in which the thread worked, 0 to 1. */
	readonly busy: number;
	/** Functions with the largest self times, as parts of the window. */
	readonly top: ReadonlyArray<{readonly place: string; readonly share: number}>;
}

/** A span of the monotonic clock, in microseconds. */
export interface Window {
	readonly from: number;
	readonly to: number;
}

export function monotonicUs(): number {
	return Number(process.hrtime.bigint() / 1000n);
}

const listedCount = 10;
const idle = '(idle)';

/** Every component's module is loaded on the threads that run it, and only there. */
function threadName({nodes}: Profile): string {
	const names = new Set(
		nodes
			.map(({callFrame: {url}}) => /\/components\/([^/]+)\/component\.js$/.exec(url)?.[1])
			.filter(name => name !== undefined),
	);
	return names.size === 0 ? 'supervisor' : [...names].sort().join(' + ');
}

function placeOf({callFrame: {functionName, url, lineNumber}}: ProfileNode): string {
	const name = functionName || '(anonymous)';
	return url
		? `${name} ${url.replace(/^.*\/(?=dist\/|node_modules\/)/, '').replace(/^dist\//, '')}:${lineNumber + 1}`
		: name;
}

function selfTimes({nodes, startTime, samples, timeDeltas}: Profile, {from, to}: Window): Map<string, number> {
	const places = new Map(nodes.map(node => [node.id, placeOf(node)]));
	const times = new Map<string, number>();
	let at = startTime;
	for (const [i, sample] of samples.entries()) {
		at += timeDeltas[i];
		// A sample lasts until the next one.
		const duration = timeDeltas[i + 1] ?? 0;
		if (at >= from && at < to) {
			const place = places.get(sample) ?? '';
			times.set(place, (times.get(place) ?? 0) + duration);
		}
	}

	return times;
}

export function summarizeProfile(profile: Profile, window: Window): ThreadProfile {
	const times = selfTimes(profile, window);
	const total = window.to - window.from;
	const working = [...times].filter(([place]) => place !== idle).sort(([, a], [, b]) => b - a);
	return {
		thread: threadName(profile),
		busy: working.reduce((sum, [, time]) => sum + time, 0) / total,
		top: working.slice(0, listedCount).map(([place, time]) => ({place, share: time / total})),
	};
}

/** All threads of a run, the busiest first. */
export function summarizeProfiles(directory: string, window: Window): ThreadProfile[] {
	return readdirSync(directory)
		.filter(name => name.endsWith('.cpuprofile'))
		.map(name => summarizeProfile(JSON.parse(readFileSync(join(directory, name), 'utf8')) as Profile, window))
		.sort((a, b) => b.busy - a.busy);
}
