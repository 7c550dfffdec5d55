/**
 * Write amplification: what the medium has to write, and to read meanwhile, for each byte that a user writes. Counted,
 * not timed.
 */
import {blockSize, type block} from '../../components/sessions/block.js';
import type {Client} from '../../runtime/sdk/session.js';
import {rangeBlockCount} from './counted-load.js';
import {makeOriginalDevice} from './original-load.js';
import {GrowingTable} from './growing-table.js';
import {isMediumRoute, type LocalDevice} from './local-device.js';
import type {ReportProgress} from './progress.js';

interface Workload {
	readonly title: string;
	/** Blocks of one request. */
	readonly blockCount: number;
	readonly requestCount: number;
	readonly depth: number;
	/** A flush after so many requests; the last one is always flushed, and counted. */
	readonly flushEvery: number;
}

const small = {blockCount: 1, requestCount: 4096} as const;

const workloads: readonly Workload[] = [
	{title: '1 MiB in order, flush at the end', blockCount: 256, requestCount: 16, depth: 4, flushEvery: 16},
	{title: '64 KiB at random places, flush every 64', blockCount: 16, requestCount: 512, depth: 4, flushEvery: 64},
	{title: '4 KiB at random places, flush at the end', ...small, depth: 32, flushEvery: 4096},
	{title: '4 KiB at random places, flush every 2048', ...small, depth: 32, flushEvery: 2048},
	{title: '4 KiB at random places, flush every 64', ...small, depth: 32, flushEvery: 64},
	{title: '4 KiB at random places, flush after each', ...small, requestCount: 512, depth: 1, flushEvery: 1},
];

/** Odd, so that its multiples reach every place of a range of 2^n. */
const stride = 1597;

async function run(
	client: Client<typeof block>,
	{blockCount, requestCount, depth, flushEvery}: Workload,
): Promise<void> {
	const slotCount = rangeBlockCount / blockCount;
	const data = Buffer.alloc(blockCount * blockSize, 1);
	for (let first = 0; first < requestCount; first += flushEvery) {
		const end = Math.min(requestCount, first + flushEvery);
		let next = first;
		await Promise.all(
			Array.from({length: depth}, async () => {
				while (next < end) {
					const slot = (blockCount === 256 ? next++ : next++ * stride) % slotCount;
					await client.write({extents: [slot * blockCount, blockCount], data});
				}
			}),
		);
		await client.sync({});
	}
}

/** Bytes of the medium so far. */
function mediumBytes({traffic}: LocalDevice): {written: number; read: number} {
	let written = 0;
	let read = 0;
	for (const [route, {byteLength, writtenByteLength}] of traffic) {
		if (isMediumRoute(route)) {
			written += writtenByteLength;
			read += byteLength - writtenByteLength;
		}
	}

	return {written, read};
}

async function measure(directory: string, workload: Workload): Promise<string[]> {
	const device = await makeOriginalDevice(directory);
	try {
		const client = device.connect();
		await run(client, workloads[0]);
		device.forgetTraffic();
		await run(client, workload);
		const byteLength = workload.requestCount * workload.blockCount * blockSize;
		const {written, read} = mediumBytes(device);
		return [workload.title, (written / byteLength).toFixed(2), (read / byteLength).toFixed(2)];
	} finally {
		await device.stop();
	}
}

export function amplificationTable(): GrowingTable {
	return new GrowingTable({
		title: 'Write amplification',
		header: ['load, over 16 MiB that were written before', 'bytes written to the medium for a byte', 'bytes read'],
		note: 'Counted in process with all checkpoints, on a device of 100 MiB whose inner blocks are cached.',
	});
}

export async function measureAmplification(
	directory: string,
	into: GrowingTable,
	report: ReportProgress,
): Promise<void> {
	for (const [i, workload] of workloads.entries()) {
		report(workload.title, i / workloads.length);
		into.add(...(await measure(`${directory}/${i}`, workload)));
	}
}
