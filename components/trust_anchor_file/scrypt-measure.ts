/**
 * What one scrypt costs on this machine, in CPU time: by the clock on the wall a busy machine would look like a slow
 * one, and the slot that is made on it would be weak for ever. It runs on a thread of its own, whose CPU time is that
 * of nothing else.
 */
import {scryptSync} from 'node:crypto';
import {Worker, isMainThread, parentPort, workerData} from 'node:worker_threads';
import {threadCpuMs} from '../../runtime/sdk/cpu-time.js';

export interface ScryptParameters {
	/** log2 of N. */
	readonly logN: number;
	readonly r: number;
	readonly maxmem: number;
}

const role = 'scrypt measure';

interface Assignment extends ScryptParameters {
	readonly role: typeof role;
}

const threadHeapMb = 16;

function isAssignment(data: unknown): data is Assignment {
	return !isMainThread && typeof data === 'object' && data !== null && 'role' in data && data.role === role;
}

if (isAssignment(workerData)) {
	const {logN, r, maxmem} = workerData;
	const startedAt = threadCpuMs();
	scryptSync(new Uint8Array(32), new Uint8Array(32), 32, {N: 2 ** logN, r, p: 1, maxmem});
	parentPort!.postMessage(threadCpuMs() - startedAt);
}

/** Milliseconds of CPU time of one round (p = 1). @throws Error where there is no memory for it */
export async function scryptCpuMs(parameters: ScryptParameters): Promise<number> {
	const worker = new Worker(new URL(import.meta.url), {
		name: role,
		env: {},
		workerData: {...parameters, role} satisfies Assignment,
		resourceLimits: {maxOldGenerationSizeMb: threadHeapMb, maxYoungGenerationSizeMb: 2},
	});
	return new Promise((resolve, reject) => {
		worker
			.once('message', resolve)
			.once('error', (error: Error) => {
				reject(new Error(`what a guess of the passphrase costs cannot be measured: ${error.message}`));
			})
			.once('exit', () => {
				reject(new Error('what a guess of the passphrase costs cannot be measured: its thread has ended'));
			});
	});
}
