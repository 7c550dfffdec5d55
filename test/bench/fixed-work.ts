/** A worker that does the same work whenever it is told to. The main thread times it. */
import {createHash} from 'node:crypto';
import {parentPort} from 'node:worker_threads';

const roundCount = 6000;
const block = Buffer.alloc(4096, 0x5a);

function work(): void {
	for (let i = 0; i < roundCount; i++) {
		createHash('sha256').update(block).digest();
	}
}

parentPort?.on('message', () => {
	work();
	parentPort?.postMessage('done');
});
