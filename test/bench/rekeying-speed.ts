/**
 * Rekeying under measurement: a device written in full, with snapshots that share most of it, is sealed anew; how fast
 * that is beside writing in order, and what it leaves to clients meanwhile.
 */
import {setTimeout as sleep} from 'node:timers/promises';
import {blockSize} from '../../components/lib/format/geometry.js';
import {cells, type Cell} from './cell.js';
import type {DeviceTarget} from './device-target.js';
import {measureCell, prefill, type FioLoad, type FioResult} from './fio.js';
import type {ReportProgress} from './progress.js';

/**
 * What lies between one snapshot and the next: this much at the device's start is written anew. Clients write there,
 * too: elsewhere the snapshots would hold what they replace, and the pool would soon be full.
 */
const overwrittenByteLength = 16 * 2 ** 20;
const snapshotCount = 3;

/** Loads of clients, alone and beside the rekeying. */
const foregroundCells = ['randread-1', 'randread-32', 'randwrite-32', 'seqwrite-4'];

const pollMs = 100;

export interface ForegroundResult {
	readonly cell: Cell;
	readonly alone: FioResult;
	readonly beside: FioResult;
	/** Bytes per second of the rekeying under this load. */
	readonly rekeying: number;
}

export interface RekeyingResult {
	readonly target: string;
	readonly byteLength: number;
	/** Bytes per second. */
	readonly write: number;
	/** Bytes of the device per second, with no client. */
	readonly rekeying: number;
	readonly foreground: readonly ForegroundResult[];
}

interface Operation {
	readonly phase: string;
	readonly lastResult: string;
	readonly done: number;
}

function rangeOf({pattern}: Cell, load: FioLoad): FioLoad {
	return pattern.endsWith('read')
		? load
		: {...load, rangeByteLength: Math.min(load.rangeByteLength, overwrittenByteLength)};
}

async function rekeyingStatus(target: DeviceTarget): Promise<Operation> {
	const {rekey} = (await target.control('operations')) as {rekey: Operation};
	return rekey;
}

async function ended(target: DeviceTarget): Promise<void> {
	for (;;) {
		const {phase, lastResult} = await rekeyingStatus(target);
		if (phase === 'idle') {
			if (lastResult !== 'success') {
				throw new Error(`the rekeying ended with the result "${lastResult}"`);
			}

			return;
		}

		await sleep(pollMs);
	}
}

/** Resolves with the time that it took, in seconds. */
async function rekeyInFull(target: DeviceTarget): Promise<number> {
	const startedMs = performance.now();
	await target.control('rekey');
	await ended(target);
	return (performance.now() - startedMs) / 1000;
}

/** The load beside a rekeying that goes on all the time. */
async function measureBeside(
	target: DeviceTarget,
	cell: Cell,
	load: FioLoad,
	seconds: number,
): Promise<{beside: FioResult; rekeying: number}> {
	await target.control('rekey');
	const before = await rekeyingStatus(target);
	const startedMs = performance.now();
	const beside = await measureCell(cell, rangeOf(cell, load), seconds);
	const after = await rekeyingStatus(target);
	if (after.phase === 'idle') {
		throw new Error(`the rekeying ended before ${cell.name} did: choose fewer --seconds or a larger --range`);
	}

	const rekeying = (((after.done - before.done) * blockSize) / (performance.now() - startedMs)) * 1000;
	await ended(target);
	return {beside, rekeying};
}

export interface RekeyingArguments {
	readonly target: DeviceTarget;
	readonly byteLength: number;
	readonly directory: string;
	readonly seconds: number;
	readonly report: ReportProgress;
}

export async function measureRekeying({
	target,
	byteLength,
	directory,
	seconds,
	report,
}: RekeyingArguments): Promise<RekeyingResult> {
	report(`${target.name}: rekeying`);
	await target.start();
	try {
		const load: FioLoad = {uri: target.uri, rangeByteLength: byteLength, directory};
		await prefill(load);
		const {bytesPerSecond: write} = await prefill(load);
		const loads = cells.filter(({name}) => foregroundCells.includes(name));
		const alone: FioResult[] = [];
		for (const cell of loads) {
			alone.push(await measureCell(cell, rangeOf(cell, load), seconds));
		}

		for (let i = 0; i < snapshotCount; i++) {
			await target.control('create_snapshot');
			await prefill({...load, rangeByteLength: overwrittenByteLength});
		}

		const rekeying = byteLength / (await rekeyInFull(target));
		const foreground: ForegroundResult[] = [];
		for (const [i, cell] of loads.entries()) {
			foreground.push({cell, alone: alone[i], ...(await measureBeside(target, cell, load, seconds))});
		}

		return {target: target.name, byteLength, write, rekeying, foreground};
	} finally {
		await target.stop();
	}
}
