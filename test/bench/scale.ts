/** What a larger device costs: creation, opening, memory, check, and the speed of blocks that lie all over it. */
import {rmSync, statSync} from 'node:fs';
import {join} from 'node:path';
import {cells} from './cell.js';
import {DeviceTarget} from './device-target.js';
import {editedAssembly} from './edited-assembly.js';
import {fillSparsely, measureCell, prefill, type FioLoad} from './fio.js';
import {memoryUse} from './process-use.js';
import {GrowingTable} from './growing-table.js';
import type {ReportProgress} from './progress.js';
import {speedOf} from './report.js';
import {whole} from './whole-number.js';

const gibibyte = 2 ** 30;
const mebibyte = 2 ** 20;
/** Memory for inner blocks, whatever the size. */
const cacheMiB = 256;
/** Blocks that are written and then accessed, evenly over the whole device. */
const placeCount = 32_768;
const measured = cells.filter(({name}) => name !== 'disk-flush-32');
/**
 * Requests in order go to this many bytes at the device's start, which are written in full first: spare blocks for all
 * snapshots are there.
 */
const sequentialByteLength = 128 * mebibyte;
const snapshotCounts = [0, 4, 40];
/** Blocks are written anew between two snapshots for this long. */
const secondsBetweenSnapshots = 1;

export interface ScaleArguments {
	readonly directory: string;
	readonly seconds: number;
	/** GiB. */
	readonly sizes: readonly number[];
	readonly report: ReportProgress;
}

async function timed(job: () => Promise<unknown>): Promise<number> {
	const startedMs = performance.now();
	await job();
	return (performance.now() - startedMs) / 1000;
}

export interface ScaleTables {
	readonly costs: GrowingTable;
	readonly speeds: GrowingTable;
}

export function scaleTables(): ScaleTables {
	return {
		costs: new GrowingTable({
			title: 'Size of the device',
			header: [
				'size',
				'creating, s',
				'opening fresh, s',
				'opening used, s',
				'memory opened, MiB',
				'peak in use, MiB',
				'check, s',
				'image takes, MiB',
			],
			note: `deploy.xml with a cache of ${cacheMiB} MiB; images on disk and sparse. Opening is the time from the program's start to the first connection.`,
		}),
		speeds: new GrowingTable({
			title: 'Speed by size and snapshots',
			header: ['size', 'snapshots', ...measured.map(({title, unit}) => `${title}, ${unit}`)],
			note: `Small requests go to ${whole(placeCount)} blocks, evenly over the whole device and written before; large ones to its first ${sequentialByteLength / mebibyte} MiB.`,
		}),
	};
}

/** Seconds that it takes, roughly: all inner blocks are written, and read by the check. */
export function scaleSeconds(sizes: readonly number[], seconds: number): number {
	return sizes.reduce(
		(sum, size) =>
			sum +
			20 +
			size / 2 +
			(seconds + 1) * measured.length * snapshotCounts.length +
			snapshotCounts.at(-1)! * (secondsBetweenSnapshots + 1),
		0,
	);
}

interface SnapshotLoad {
	readonly target: DeviceTarget;
	readonly load: FioLoad & {readonly alignment: number};
	readonly seconds: number;
	/** Called with each row of texts, the number of snapshots first. */
	onRow(row: readonly string[]): void;
}

/** Speed of every cell over all places, as the first snapshots, and then the others, are there. */
async function measureSnapshots({target, load, seconds, onRow}: SnapshotLoad): Promise<void> {
	const {alignment, ...everywhere} = load;
	const inOrder: FioLoad = {...everywhere, rangeByteLength: sequentialByteLength};
	await fillSparsely(load);
	await prefill(inOrder);
	const writing = cells.find(({name}) => name === 'randwrite-32')!;
	let made = 0;
	for (const count of snapshotCounts) {
		for (; made < count; made++) {
			await target.control('create_snapshot');
			// Few blocks, so that the pool has room for what all snapshots hold.
			await measureCell(writing, {...load, rangeByteLength: 64 * alignment}, secondsBetweenSnapshots);
		}

		const row = [String(count)];
		for (const cell of measured) {
			row.push(whole(speedOf(cell, await measureCell(cell, cell.unit === 'IOPS' ? load : inOrder, seconds))));
		}

		onRow(row);
	}
}

export async function measureScale(
	{directory, seconds, sizes, report}: ScaleArguments,
	{costs, speeds}: ScaleTables,
): Promise<void> {
	for (const [i, size] of sizes.entries()) {
		const step = (text: string, done: number) => {
			report(`${text} ${size} GiB`, (i + done) / sizes.length);
		};

		const file = editedAssembly('deploy.xml', directory, {
			name: `scale-${size}`,
			dimensions: `vbd_size="${size}G" ft_size="${size > 16 ? 4 : 1}G"`,
			cacheMiB,
		});
		const target = new DeviceTarget(file, directory);
		step('creating', 0);
		const creation = await timed(async () => target.runTool('cbe_init'));
		step('opening', 0.1);
		const opening = await timed(async () => target.start());
		const opened = memoryUse(target.pid).byteLength;
		let used: number;
		try {
			const load = {
				uri: target.uri,
				rangeByteLength: size * gibibyte,
				directory,
				alignment: (size * gibibyte) / placeCount,
			};
			let rowCount = 0;
			step('measuring', 0.15);
			await measureSnapshots({
				target,
				load,
				seconds,
				onRow(row) {
					speeds.add(`${size} GiB`, ...row);
					step('measuring', 0.15 + (0.65 * ++rowCount) / snapshotCounts.length);
				},
			});
			used = memoryUse(target.pid).peakByteLength;
		} finally {
			await target.stop();
		}

		const reopening = await timed(async () => target.start());
		await target.stop();
		step('checking', 0.8);
		const check = await timed(async () => target.runTool('cbe_check'));
		const {stateDirectory} = target;
		const allocated = statSync(join(stateDirectory, 'cbe.img')).blocks * 512;
		costs.add(
			`${size} GiB`,
			creation.toFixed(1),
			opening.toFixed(2),
			reopening.toFixed(2),
			whole(opened / mebibyte),
			whole(used / mebibyte),
			check.toFixed(1),
			whole(allocated / mebibyte),
		);
		// The next one may need the room.
		rmSync(stateDirectory, {recursive: true});
	}
}
