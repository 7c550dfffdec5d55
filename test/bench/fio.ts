/** fio with its NBD engine: the same client for every server. */
import {runProgram} from './program.js';
import type {Cell} from './cell.js';

/** What fio saw in one run. */
export interface FioResult {
	readonly iops: number;
	readonly bytesPerSecond: number;
	readonly requestCount: number;
	/** 99th percentile of the time to completion, in microseconds; the worse one of reads and writes. */
	readonly p99Us: number;
}

interface FioDirection {
	readonly iops: number;
	readonly bw_bytes: number;
	readonly total_ios: number;
	readonly clat_ns: {readonly percentile?: Readonly<Record<string, number>>};
}

interface FioOutput {
	readonly jobs: ReadonlyArray<{readonly error: number; readonly read: FioDirection; readonly write: FioDirection}>;
}

export interface FioLoad {
	readonly uri: string;
	/** Bytes at the device's start that requests go to. */
	readonly rangeByteLength: number;
	/** fio may leave files there. */
	readonly directory: string;
}

function commonWords({uri, rangeByteLength}: FioLoad): string[] {
	return ['--name=bench', '--ioengine=nbd', `--uri=${uri}`, `--size=${rangeByteLength}`, '--output-format=json'];
}

async function runFio(words: readonly string[], directory: string): Promise<FioResult> {
	const output = await runProgram('fio', words, directory);
	// The engine announces its connection before the document.
	const {jobs: [{error, read, write}]} = JSON.parse(output.slice(output.indexOf('{'))) as FioOutput;
	if (error !== 0) {
		throw new Error(`fio ended with error ${error}: ${output}`);
	}

	return {
		iops: read.iops + write.iops,
		bytesPerSecond: read.bw_bytes + write.bw_bytes,
		requestCount: read.total_ios + write.total_ios,
		p99Us: Math.max(...[read, write].map(({clat_ns: {percentile}}) => (percentile?.['99.000000'] ?? 0) / 1000)),
	};
}

export async function measureCell({pattern, requestSize, depth, flushEvery}: Cell, load: FioLoad, seconds: number): Promise<FioResult> {
	const words = [
		...commonWords(load), `--rw=${pattern}`, `--bs=${requestSize}`, `--iodepth=${depth}`, '--time_based', `--runtime=${seconds}`,
		'--norandommap', '--randrepeat=0', ...(flushEvery === undefined ? [] : [`--fsync=${flushEvery}`]),
	];
	return runFio(words, load.directory);
}

/** Writes the whole range once, so that no cell reads holes or makes a sparse file grow. */
export async function prefill(load: FioLoad): Promise<FioResult> {
	return runFio([...commonWords(load), '--rw=write', '--bs=1M', '--iodepth=4', '--end_fsync=1'], load.directory);
}
