/** What a larger device costs: creation, opening, memory, check, and the speed of blocks that lie all over it. */
import {statSync} from 'node:fs';
import {join} from 'node:path';
import {cells} from './cell.js';
import {DeviceTarget} from './device-target.js';
import {editedAssembly} from './edited-assembly.js';
import {fillSparsely, measureCell} from './fio.js';
import {memoryUse} from './process-use.js';
import {table, whole} from './report.js';

const gibibyte = 2 ** 30;
const mebibyte = 2 ** 20;
/** Memory for inner blocks, whatever the size. */
const cacheMiB = 256;
/** Blocks that are written and then accessed, evenly over the whole device. */
const placeCount = 32_768;
const cellNames = ['randread-1', 'randread-32', 'randwrite-32'];
const measured = cells.filter(({name}) => cellNames.includes(name));
const snapshotCounts = [0, 4, 40];
/** Blocks are written anew between two snapshots for this long. */
const secondsBetweenSnapshots = 1;

export interface ScaleArguments {
	readonly directory: string;
	readonly seconds: number;
	/** GiB. */
	readonly sizes: readonly number[];
	report(progress: string): void;
}

async function timed(job: () => Promise<unknown>): Promise<number> {
	const startedMs = performance.now();
	await job();
	return (performance.now() - startedMs) / 1000;
}

/** Speed of every cell over all places, as the first snapshots, and then the others, are there. */
async function measureSnapshots(target: DeviceTarget, load: Parameters<typeof fillSparsely>[0], counts: readonly number[], seconds: number): Promise<string[][]> {
	const writing = cells.find(({name}) => name === 'randwrite-32')!;
	const rows: string[][] = [];
	let made = 0;
	for (const count of counts) {
		for (; made < count; made++) {
			await target.control('create_snapshot');
			// Few blocks, so that the pool has room for what all snapshots hold.
			await measureCell(writing, {...load, rangeByteLength: Math.min(load.rangeByteLength, 64 * load.alignment)}, secondsBetweenSnapshots);
		}

		const row = [String(count)];
		for (const cell of measured) {
			row.push(whole((await measureCell(cell, load, seconds)).iops));
		}

		rows.push(row);
	}

	return rows;
}

export async function measureScale({directory, seconds, sizes, report}: ScaleArguments): Promise<string[]> {
	const costs: string[][] = [];
	const speeds: string[][] = [];
	for (const [i, size] of sizes.entries()) {
		const file = editedAssembly('deploy.xml', directory, {name: `scale-${size}`, dimensions: `vbd_size="${size}G" ft_size="${size > 16 ? 4 : 1}G"`, cacheMiB});
		const target = new DeviceTarget(file, directory);
		report(`scale: creating ${size} GiB`);
		const creation = await timed(async () => target.runTool('cbe_init'));
		report(`scale: opening ${size} GiB`);
		const opening = await timed(async () => target.start());
		const opened = memoryUse(target.pid).byteLength;
		let used: number;
		try {
			const load = {uri: target.uri, rangeByteLength: size * gibibyte, directory, alignment: size * gibibyte / placeCount};
			await fillSparsely(load);
			report(`scale: measuring ${size} GiB`);
			// With the first size only: what snapshots cost does not depend on the size.
			const rows = await measureSnapshots(target, load, i === 0 ? snapshotCounts : [0], seconds);
			speeds.push(...rows.map(row => [`${size} GiB`, ...row]));
			used = memoryUse(target.pid).peakByteLength;
		} finally {
			await target.stop();
		}

		const reopening = await timed(async () => target.start());
		await target.stop();
		report(`scale: checking ${size} GiB`);
		const check = await timed(async () => target.runTool('cbe_check'));
		const allocated = statSync(join(target.stateDirectory, 'cbe.img')).blocks * 512;
		costs.push([
			`${size} GiB`, creation.toFixed(1), opening.toFixed(2), reopening.toFixed(2), whole(opened / mebibyte), whole(used / mebibyte),
			check.toFixed(1), whole(allocated / mebibyte),
		]);
	}

	return [
		'### Size of the device', '',
		...table(['size', 'creating, s', 'opening fresh, s', 'opening used, s', 'memory opened, MiB', 'peak in use, MiB', 'check, s', 'image takes, MiB'], costs), '',
		`deploy.xml with a cache of ${cacheMiB} MiB; images on disk and sparse. Opening is the time from the program's start to the first connection.`, '',
		...table(['size', 'snapshots', ...measured.map(({title, unit}) => `${title}, ${unit}`)], speeds), '',
		`${whole(placeCount)} blocks, evenly over the whole device and written before.`, '',
	];
}
