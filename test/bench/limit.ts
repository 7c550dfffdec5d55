/** The limits: cipher and label alone, and the medium alone. */
import {once} from 'node:events';
import fs from 'node:fs';
import {availableParallelism} from 'node:os';
import {join} from 'node:path';
import {Worker} from 'node:worker_threads';
import {measuredCiphers, type CipherWork, type MeasuredCipher} from './measured-cipher.js';

const workModule = new URL('cipher-work.js', import.meta.url);
const mebibyte = 2 ** 20;

export interface CipherLimit {
	readonly cipher: MeasuredCipher;
	readonly coreCount: number;
	/** Bytes per second. */
	readonly seal: number;
	readonly open: number;
}

export interface MediumSpeed {
	/** Bytes per second, in requests of 1 MiB by one thread through the page cache, without a sync. */
	readonly read: number;
	readonly write: number;
}

/** Bytes per second of all workers together. */
export async function cipherSpeed(coreCount: number, work: CipherWork): Promise<number> {
	const workers = Array.from({length: coreCount}, () => new Worker(workModule, {workerData: work}));
	await Promise.all(workers.map(async worker => once(worker, 'message')));
	const speeds = await Promise.all(
		workers.map(async worker => {
			const done = once(worker, 'message');
			worker.postMessage('go');
			const [speed] = (await done) as [number];
			await worker.terminate();
			return speed;
		}),
	);
	return speeds.reduce((sum, speed) => sum + speed, 0);
}

/** Each cipher on one core, two, four, and so on, up to all. */
export async function cipherLimits(milliseconds: number): Promise<CipherLimit[]> {
	const limits: CipherLimit[] = [];
	for (const cipher of measuredCiphers) {
		for (let coreCount = 1; coreCount <= availableParallelism(); coreCount *= 2) {
			const seal = await cipherSpeed(coreCount, {direction: 'seal', cipher, milliseconds});
			const open = await cipherSpeed(coreCount, {direction: 'open', cipher, milliseconds});
			limits.push({cipher, coreCount, seal, open});
		}
	}

	return limits;
}

function timePasses(byteLength: number, milliseconds: number, transfer: (position: number) => void): number {
	const startedMs = performance.now();
	let done = 0;
	while (performance.now() - startedMs < milliseconds) {
		transfer(done % byteLength);
		done += mebibyte;
	}

	return (done / (performance.now() - startedMs)) * 1000;
}

/** Writes and reads a file that lies there in full already. */
export function mediumSpeed(directory: string, byteLength: number, milliseconds: number): MediumSpeed {
	const file = join(directory, 'medium');
	const fd = fs.openSync(file, 'w+', 0o600);
	const piece = Buffer.alloc(mebibyte, 3);
	try {
		for (let position = 0; position < byteLength; position += mebibyte) {
			fs.writeSync(fd, piece, 0, mebibyte, position);
		}

		const write = timePasses(byteLength, milliseconds, position => fs.writeSync(fd, piece, 0, mebibyte, position));
		const read = timePasses(byteLength, milliseconds, position => fs.readSync(fd, piece, 0, mebibyte, position));
		return {read, write};
	} finally {
		fs.closeSync(fd);
		fs.rmSync(file);
	}
}
