/** A thread of the pool: its own scratch memory, keys that are lent to it with each task. */
import {workerData} from 'node:worker_threads';
import {cpusOfOwnThread, pinOwnThread, sharedMicroseconds} from '../../runtime/sdk/own-thread.js';
import {EvpSuite} from '../lib/crypto/evp-suite.js';
import {loadLibcrypto} from '../lib/crypto/libcrypto.js';
import {RunWork} from '../lib/crypto/batch-work.js';
import type {PreparedKey} from '../lib/crypto/cipher-suite.js';
import type {CipherTask, TaskReport, ThreadPlace} from './cipher-task.js';
import {JobTable} from './job-table.js';

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

function help(
	{suite, work}: Tools,
	{direction, key: contexts, plain, sealed, ...task}: CipherTask,
	startUs: number,
): TaskReport {
	const table = new JobTable(task.table, task.capacity, task.blockCount);
	const {addresses, vbas, generations, claims} = table;
	const batch = {addresses, vbas, generations, plain, sealed};
	let doneBlockCount = 0;
	let key: PreparedKey | undefined;
	for (;;) {
		const claim = claims.takeFirst(task.taker, table.unitsAtOnce(task.threadCount));
		if (!claim) {
			return {startUs, endUs: sharedMicroseconds(), blockCount: doneBlockCount};
		}

		key ??= suite.borrow(contexts);
		table.work(work, {direction, key, batch}, claim);
		claims.finish(claim);
		doneBlockCount += table.blockCountOf(claim);
	}
}

export default async function work(task: CipherTask): Promise<TaskReport> {
	const startUs = sharedMicroseconds();
	tools ??= makeTools();
	return help(await tools, task, startUs);
}
