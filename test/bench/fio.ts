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
	/** The median and the 99.9th percentile, likewise. */
	readonly p50Us: number;
	readonly p999Us: number;
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
	/**
	 * Clients at once, each with a connection of its own and its part of the cell's depth; one where it is left out.
	 */
	readonly clientCount?: number;
	/** Requests go to multiples of this many bytes only. */
	readonly alignment?: number;
}

function commonWords({uri, rangeByteLength, clientCount = 1, alignment}: FioLoad): string[] {
	return [
		'--name=bench',
		'--ioengine=nbd',
		`--uri=${uri}`,
		`--size=${rangeByteLength}`,
		'--output-format=json',
		...(clientCount === 1 ? [] : [`--numjobs=${clientCount}`, '--group_reporting=1', '--thread=1']),
		...(alignment === undefined ? [] : [`--blockalign=${alignment}`]),
	];
}

async function runFio(words: readonly string[], directory: string): Promise<FioResult> {
	const output = await runProgram('fio', words, directory);
	// The engine announces its connection before the document.
	const {
		jobs: [{error, read, write}],
	} = JSON.parse(output.slice(output.indexOf('{'))) as FioOutput;
	if (error !== 0) {
		throw new Error(`fio ended with error ${error}: ${output}`);
	}

	const percentileUs = (percent: string) =>
		Math.max(...[read, write].map(({clat_ns: {percentile}}) => (percentile?.[percent] ?? 0) / 1000));
	return {
		iops: read.iops + write.iops,
		bytesPerSecond: read.bw_bytes + write.bw_bytes,
		requestCount: read.total_ios + write.total_ios,
		p50Us: percentileUs('50.000000'),
		p99Us: percentileUs('99.000000'),
		p999Us: percentileUs('99.900000'),
	};
}

export async function measureCell(
	{pattern, requestSize, depth, flushEvery, storage}: Cell,
	load: FioLoad,
	seconds: number,
): Promise<FioResult> {
	const words = [
		...commonWords(load),
		`--rw=${pattern}`,
		`--bs=${requestSize}`,
		`--iodepth=${Math.max(1, Math.floor(depth / (load.clientCount ?? 1)))}`,
		...(storage === 'cold' ? [] : ['--time_based']),
		`--runtime=${seconds}`,
		'--norandommap',
		'--randrepeat=0',
		...(flushEvery === undefined ? [] : [`--fsync=${flushEvery}`]),
	];
	return runFio(words, load.directory);
}

/** Writes the whole range once, so that no cell reads holes or makes a sparse file grow. */
export async function prefill(load: FioLoad): Promise<FioResult> {
	return runFio([...commonWords(load), '--rw=write', '--bs=1M', '--iodepth=4', '--end_fsync=1'], load.directory);
}

/** Writes one block of each `alignment` bytes of the range, in order. */
export async function fillSparsely(load: FioLoad & {readonly alignment: number}): Promise<FioResult> {
	const {alignment, ...dense} = load;
	const words = [
		'--rw=write',
		'--bs=4096',
		'--iodepth=32',
		'--zonemode=strided',
		'--zonesize=4096',
		`--zonerange=${alignment}`,
		'--end_fsync=1',
	];
	return runFio(
		[...commonWords(dense), ...words, `--io_size=${Math.floor(load.rangeByteLength / alignment) * 4096}`],
		load.directory,
	);
}
