/** What runs in a worker thread. */
import {parentPort, workerData} from 'node:worker_threads';
import {runHost} from './group-host.js';
import type {HostData, ToHost} from './messages.js';

if (!parentPort) {
	throw new Error('this module runs in a worker thread only');
}

const port = parentPort;

await runHost(workerData as HostData, {
	post(message) {
		port.postMessage(message);
	},
	listen(onMessage) {
		port.on('message', (message: ToHost) => {
			onMessage(message);
		});
	},
});
