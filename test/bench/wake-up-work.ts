/** The thread that is woken: answers each message, or each odd value of a word in shared memory. */
import {parentPort, type MessagePort} from 'node:worker_threads';

type Task = {readonly port: MessagePort} | {readonly word: Int32Array; readonly roundTripCount: number};

function answerValues(word: Int32Array, roundTripCount: number): void {
	for (let answered = 0; answered < 2 * roundTripCount; answered += 2) {
		Atomics.wait(word, 0, answered);
		Atomics.store(word, 0, answered + 2);
		Atomics.notify(word, 0);
	}
}

parentPort?.on('message', (task: Task) => {
	if ('port' in task) {
		task.port.on('message', value => {
			task.port.postMessage(value);
		});
	} else {
		parentPort?.postMessage('ready');
		answerValues(task.word, task.roundTripCount);
	}
});
