/** A worker that does nothing but libcrypto's cipher and label: what no encrypted device can be faster than. */
import {randomBytes} from 'node:crypto';
import {parentPort, workerData} from 'node:worker_threads';
import {openSuite} from '../../components/libcrypto/suite.js';
import {blockSize} from '../../components/sessions/block.js';
import {labelLength} from '../../components/sessions/cipher.js';
import type {BlockRun} from '../../components/sessions/cipher-suite.js';
import {runBlockCountMax} from '../../components/sessions/batch-work.js';

export interface CipherWork {
	/** `seal` encrypts, then labels; `open` labels, then decrypts. */
	readonly direction: 'seal' | 'open';
	readonly milliseconds: number;
}

/** More than the processor's caches hold, so that bytes come from memory as they do in the device. */
const byteLength = 64 * 2 ** 20;

const {direction, milliseconds} = workerData as CipherWork;
const suite = await openSuite(() => undefined);
const key = suite.xts(randomBytes(64));
const plain = Buffer.alloc(byteLength, 1);
const sealed = Buffer.alloc(byteLength, 2);
const labels = new Uint8Array(runBlockCountMax * labelLength);
const addresses = Array.from({length: byteLength / blockSize}, (_, i) => i);

function workOn(run: BlockRun): void {
	if (direction === 'seal') {
		key.encrypt(run);
	}

	suite.label(sealed, run.sealedOffset, run.count, labels, 0);
	if (direction === 'open') {
		key.decrypt(run);
	}
}

/** Bytes done until the time is over. */
function work(): number {
	const end = performance.now() + milliseconds;
	let done = 0;
	while (performance.now() < end) {
		const offset = done % byteLength;
		workOn({addresses, vbas: addresses, generations: addresses, first: offset / blockSize, count: runBlockCountMax, plain, plainOffset: offset, sealed, sealedOffset: offset});
		done += runBlockCountMax * blockSize;
	}

	return done;
}

parentPort?.once('message', () => {
	const startedMs = performance.now();
	const bytes = work();
	key.wipe();
	parentPort?.postMessage(bytes / (performance.now() - startedMs) * 1000);
});
parentPort?.postMessage('ready');
