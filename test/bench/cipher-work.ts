/** A worker that does nothing but libcrypto's cipher and label: what no encrypted device can be faster than. */
import {randomBytes} from 'node:crypto';
import {parentPort, workerData} from 'node:worker_threads';
import {openSuite} from '../../components/lib/crypto/suite.js';
import {blockSize} from '../../components/sessions/block.js';
import {labelLength} from '../../components/sessions/cipher.js';
import {isAuthenticatedKey, type BlockRun} from '../../components/lib/crypto/cipher-suite.js';
import {runBlockCountMax} from '../../components/lib/crypto/batch-work.js';
import type {CipherWork} from './measured-cipher.js';

/** More than the processor's caches hold, so that bytes come from memory as they do in the device. */
const byteLength = 64 * 2 ** 20;

const {direction, cipher, milliseconds} = workerData as CipherWork;
const suite = await openSuite(() => undefined);
const key = suite.prepare(cipher, randomBytes(32), 1);
if (!key) {
	throw new Error(`there is no ${cipher}`);
}

const plain = Buffer.alloc(byteLength, 1);
const sealed = Buffer.alloc(byteLength, 2);
const addresses = Array.from({length: byteLength / blockSize}, (_, i) => i);
const labels = new Uint8Array(addresses.length * labelLength);

function workOn(run: BlockRun, way: CipherWork['direction']): void {
	if (!key) {
		return;
	}

	if (isAuthenticatedKey(key)) {
		if (way === 'seal') {
			key.seal(run, labels);
		} else if (key.open(run, labels).length > 0) {
			throw new Error('a block does not match its label');
		}

		return;
	}

	if (way === 'seal') {
		key.encrypt(run);
	}

	suite.label(sealed, run.sealedOffset, run.count, labels, run.first * labelLength);
	if (way === 'open') {
		key.decrypt(run);
	}
}

function runAt(offset: number): BlockRun {
	return {
		addresses,
		vbas: addresses,
		generations: addresses,
		first: offset / blockSize,
		count: runBlockCountMax,
		plain,
		plainOffset: offset,
		sealed,
		sealedOffset: offset,
	};
}

// What is opened has to be what was sealed.
for (let offset = 0; offset < byteLength; offset += runBlockCountMax * blockSize) {
	workOn(runAt(offset), 'seal');
}

/** Bytes done until the time is over. */
function work(): number {
	const end = performance.now() + milliseconds;
	let done = 0;
	while (performance.now() < end) {
		workOn(runAt(done % byteLength), direction);
		done += runBlockCountMax * blockSize;
	}

	return done;
}

parentPort?.once('message', () => {
	const startedMs = performance.now();
	const bytes = work();
	key?.wipe();
	parentPort?.postMessage((bytes / (performance.now() - startedMs)) * 1000);
});
parentPort?.postMessage('ready');
