/**
 * What runs in a thread that measures: the modules of components are loaded as a host does it, and nothing is started.
 */
import {pathToFileURL} from 'node:url';
import {getHeapStatistics} from 'node:v8';
import {parentPort, workerData} from 'node:worker_threads';
import {dropGarbage} from './garbage.js';

await import('./host-run.js');
for (const path of workerData as readonly string[]) {
	await import(pathToFileURL(path).href);
}

dropGarbage();
parentPort?.postMessage(getHeapStatistics().used_heap_size);
