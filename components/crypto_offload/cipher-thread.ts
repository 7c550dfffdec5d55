/** A thread of the pool: its own scratch memory, keys that are lent to it with each piece. */
import {workerData} from 'node:worker_threads';
import {cpusOfOwnThread, pinOwnThread} from '../../runtime/sdk/own-thread.js';
import {EvpSuite} from '../libcrypto/evp-suite.js';
import {loadLibcrypto} from '../libcrypto/libcrypto.js';
import {RunWork, runsOf} from '../sessions/batch-work.js';
import type {CipherPiece, PieceResult, ThreadPlace} from './cipher-task.js';

interface Tools {
	readonly suite: EvpSuite;
	readonly work: RunWork;
}

let tools: Promise<Tools> | undefined;

async function makeTools(): Promise<Tools> {
	const {cpus} = workerData as ThreadPlace;
	if (cpus.length > 0) {
		pinOwnThread(cpus);
	}

	const {libcrypto, reason} = await loadLibcrypto();
	if (!libcrypto) {
		throw new Error(reason);
	}

	const suite = new EvpSuite(libcrypto);
	return {suite, work: new RunWork(suite)};
}

/** Makes everything ready and tells on which CPUs this thread runs. */
export async function prepare(): Promise<number[]> {
	tools ??= makeTools();
	await tools;
	return cpusOfOwnThread();
}

function doPiece({suite, work}: Tools, {direction, key: contexts, labels, ...batch}: CipherPiece): PieceResult {
	const key = suite.borrow(contexts);
	const mismatched: number[] = [];
	for (const run of runsOf(batch)) {
		if (direction === 'seal') {
			work.seal(key, run, labels);
		} else {
			work.open(key, run, labels, mismatched);
		}
	}

	return {labels: direction === 'seal' ? labels : undefined, mismatched};
}

export default async function work(pieces: readonly CipherPiece[]): Promise<PieceResult[]> {
	tools ??= makeTools();
	const ready = await tools;
	return pieces.map(piece => doPiece(ready, piece));
}
