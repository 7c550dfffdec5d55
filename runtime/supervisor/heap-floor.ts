/**
 * How much heap components need before they have anything to do. That depends on Node's version more than on the
 * component, so it is measured on the Node that runs, not remembered.
 */
import {Worker} from 'node:worker_threads';
import type {Child} from '../deployment/checked-deployment.js';
import {heapLimits, ramQuantumMin} from '../deployment/ram-share.js';

const mebibyte = 2 ** 20;

/** Old generation that has to be free beside what stays: loading modules needs up to 3 MiB more than it keeps. */
const roomBytes = 4 * mebibyte;

const probeModule = new URL('../host/heap-probe.js', import.meta.url);

/** Bytes of heap that a host with these modules of components keeps. */
export async function emptyHeapBytes(modulePaths: readonly string[]): Promise<number> {
	return new Promise((resolve, reject) => {
		const worker = new Worker(probeModule, {workerData: modulePaths});
		worker.on('message', resolve);
		worker.on('error', reject);
		worker.on('exit', () => {
			reject(new Error('the heap of an empty component cannot be measured'));
		});
	});
}

function oldGenerationBytes(quanta: readonly number[]): number {
	return (heapLimits(quanta).maxOldGenerationSizeMb ?? 0) * mebibyte;
}

/**
 * The first child's quantum, in whole mebibytes, with which the group's heap has room for `bytes`; undefined where none
 * has.
 */
function sufficientQuantum([first, ...others]: readonly number[], bytes: number): number | undefined {
	let quantum = Math.ceil(Math.max(first, ramQuantumMin) / mebibyte) * mebibyte;
	for (let before = -1; oldGenerationBytes([quantum, ...others]) < bytes; quantum += mebibyte) {
		const now = oldGenerationBytes([quantum, ...others]);
		// The heap's share of a quantum has an upper bound.
		if (now === before && quantum > 2 ** 30) {
			return undefined;
		}

		before = now;
	}

	return quantum;
}

export interface NarrowHeap {
	/** In the same thread or process. */
	readonly children: readonly Child[];
	/** Bytes of old generation: what it has, and what it needs while it is empty. */
	readonly limit: number;
	readonly need: number;
	/** Bytes: the quantum of the first of the children with which it has that. */
	readonly quantum: number | undefined;
}

/** Groups whose quantum is too small for their components, even while these are empty. */
export async function narrowHeaps(children: readonly Child[], measure = emptyHeapBytes): Promise<NarrowHeap[]> {
	const groups = [...new Set(children.map(({group}) => group))].map(name =>
		children.filter(({group}) => group === name),
	);
	const limitOf = (members: readonly Child[]) => oldGenerationBytes(members.map(({ramQuantum}) => ramQuantum));
	const measured = new Map<string, Promise<number>>();
	const needOf = async (members: readonly Child[]) => {
		const paths = [...new Set(members.map(({modulePath}) => modulePath))].sort();
		const key = paths.join('\n');
		measured.set(key, measured.get(key) ?? measure(paths));
		return (await measured.get(key)!) + roomBytes;
	};

	// No group needs more than all of them together: mostly one measurement says that every one has enough.
	const most = await needOf(children);
	const narrow: NarrowHeap[] = [];
	for (const members of groups.filter(group => limitOf(group) < most)) {
		const need = await needOf(members);
		const limit = limitOf(members);
		if (limit < need) {
			narrow.push({
				children: members,
				limit,
				need,
				quantum: sufficientQuantum(
					members.map(({ramQuantum}) => ramQuantum),
					need,
				),
			});
		}
	}

	return narrow;
}
