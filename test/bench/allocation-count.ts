/**
 * How much of the JavaScript heap the data path takes for a request. Counted in a process of its own, whose young
 * generation is so large that nothing is collected while it is counted: then what the heap has grown by is what was
 * allocated.
 */
import {execFile} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import type {CountedLoad} from './counted-load.js';

const program = fileURLToPath(new URL('allocation-program.js', import.meta.url));
const youngGenerationMiB = 256;

/** Bytes of heap for one request, for each of the loads. */
export async function allocatedBytes(loads: readonly CountedLoad[]): Promise<number[]> {
	const flags = [
		'--expose-gc',
		`--min-semi-space-size=${youngGenerationMiB}`,
		`--max-semi-space-size=${youngGenerationMiB}`,
	];
	const {stdout} = await promisify(execFile)(process.execPath, [...flags, program, JSON.stringify(loads)]);
	return JSON.parse(stdout) as number[];
}
