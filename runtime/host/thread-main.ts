/** What runs in a worker thread. */
import {parentPort, workerData} from 'node:worker_threads';
import {copyOfShared} from '../transport/shared-secret.js';
import {runHost} from './host-run.js';
import {handedOver, type ThreadData, type ToHost} from './messages.js';

if (!parentPort) {
	throw new Error('this module runs in a worker thread only');
}

const port = parentPort;

const {secrets, ...data} = workerData as ThreadData;

await runHost(data, {
	post(message) {
		port.postMessage(message, handedOver(message));
	},
	listen(onMessage) {
		port.on('message', (message: ToHost) => {
			onMessage(message);
		});
	},
	secret(name) {
		const secret = secrets.get(name);
		return secret && copyOfShared(secret);
	},
});
