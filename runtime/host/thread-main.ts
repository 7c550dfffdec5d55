/** What runs in a worker thread. */
import {parentPort, workerData} from 'node:worker_threads';
import {copyOfShared} from '../transport/shared-secret.js';
import {doorbell} from '../transport/doorbell.js';
import {runHost} from './host-run.js';
import {handedOver, type ThreadData, type ToHost} from './messages.js';

if (!parentPort) {
	throw new Error('this module runs in a worker thread only');
}

const port = parentPort;

const {secrets, bell, ...data} = workerData as ThreadData;
doorbell.use(bell);

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
