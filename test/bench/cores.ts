/** What more CPUs, a pool of crypto threads, and more connections bring. */
import {availableParallelism} from 'node:os';
import {cells} from './cell.js';
import {DeviceTarget} from './device-target.js';
import {measureCell, prefill, type FioLoad} from './fio.js';
import {missingPrograms} from './program.js';
import {GrowingTable} from './growing-table.js';
import type {ReportProgress} from './progress.js';
import {speedOf} from './report.js';
import {whole} from './whole-number.js';

const rangeByteLength = 256 * 2 ** 20;
const assemblies = ['deploy.xml', 'throughput.xml'] as const;
const cellNames = ['seqread-4', 'seqwrite-4', 'randread-32', 'randwrite-32'];
const clientCounts = [1, 4, 8];
const measured = cells.filter(({name}) => cellNames.includes(name));

export interface CoresArguments {
	readonly directory: string;
	readonly seconds: number;
	readonly report: ReportProgress;
}

/** 1, 2, 4, … as far as the machine has CPUs. */
function cpuCounts(): number[] {
	const counts: number[] = [];
	for (let count = 1; count <= availableParallelism(); count *= 2) {
		counts.push(count);
	}

	return counts;
}

async function measureRow(load: FioLoad, seconds: number): Promise<string[]> {
	const texts: string[] = [];
	for (const cell of measured) {
		texts.push(whole(speedOf(cell, await measureCell(cell, load, seconds))));
	}

	return texts;
}

async function withDevice(
	assembly: string,
	cpus: string | undefined,
	directory: string,
	use: (load: FioLoad) => Promise<void>,
): Promise<void> {
	const target = new DeviceTarget(assembly, directory);
	target.cpus = cpus;
	await target.start();
	try {
		const load: FioLoad = {uri: target.uri, rangeByteLength, directory};
		await prefill(load);
		await use(load);
	} finally {
		await target.stop();
	}
}

const header = measured.map(({title, unit}) => `${title}, ${unit}`);

/** Seconds that it takes, roughly. */
export function coresSeconds(seconds: number): number {
	return (
		cpuCounts().length * assemblies.length * (4 + measured.length * seconds) +
		4 +
		clientCounts.length * measured.length * seconds
	);
}

export interface CoresTables {
	readonly byCpus: GrowingTable;
	readonly byClients: GrowingTable;
}

export function coresTables(): CoresTables {
	return {
		byCpus: new GrowingTable({
			title: 'CPUs of the serving process',
			header: ['assembly, CPUs', ...header],
			note: 'fio is not pinned: with as many CPUs as the machine has, it takes its part of them.',
		}),
		byClients: new GrowingTable({
			title: 'Connections at once',
			header: ['connections', ...header],
			note: 'deploy.xml; the depth is divided among the connections, each has at least one request under way.',
		}),
	};
}

export async function measureCores(
	{directory, seconds, report}: CoresArguments,
	{byCpus, byClients}: CoresTables,
): Promise<void> {
	const counts = missingPrograms(['taskset']).length > 0 ? [] : cpuCounts();
	const stepCount = counts.length * assemblies.length + clientCounts.length;
	if (counts.length === 0) {
		report('taskset is missing: no table of CPUs');
	}

	for (const count of counts) {
		for (const assembly of assemblies) {
			report(`${assembly} on ${count}`, byCpus.rows.length / stepCount);
			await withDevice(assembly, `0-${count - 1}`, directory, async load => {
				byCpus.add(`${assembly}, ${count}`, ...(await measureRow(load, seconds)));
			});
		}
	}

	await withDevice('deploy.xml', undefined, directory, async load => {
		for (const clientCount of clientCounts) {
			report(`${clientCount} connections`, (byCpus.rows.length + byClients.rows.length) / stepCount);
			byClients.add(String(clientCount), ...(await measureRow({...load, clientCount}, seconds)));
		}
	});
}
