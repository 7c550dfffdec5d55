/** How long reads take while something else goes on. */
import {cells, type Cell} from './cell.js';
import {DeviceTarget} from './device-target.js';
import {editedAssembly} from './edited-assembly.js';
import {measureCell, prefill, type FioLoad, type FioResult} from './fio.js';
import {GrowingTable} from './growing-table.js';
import type {ReportProgress} from './progress.js';
import {whole} from './whole-number.js';

const rangeByteLength = 256 * 2 ** 20;
const pollMs = 100;

export interface LatencyArguments {
	readonly directory: string;
	readonly seconds: number;
	readonly report: ReportProgress;
}

/** What goes on beside the reads; `end` waits until it is over. */
interface Companion {
	readonly title: string;
	begin(target: DeviceTarget, load: FioLoad, seconds: number): Promise<{end(): Promise<void>}>;
}

function cell(name: string, changes: Partial<Cell> = {}): Cell {
	return {...cells.find(candidate => candidate.name === name)!, ...changes};
}

/** A long operation that is begun again as often as it ends while the reads go on. */
function operation(title: string, name: string, request: Record<string, unknown>): Companion {
	return {
		title,
		async begin(target) {
			let goesOn = true;
			const running = (async () => {
				while (goesOn) {
					await target.control(name, request);
					await ended(target);
				}
			})();
			return {
				async end() {
					goesOn = false;
					await running;
				},
			};
		},
	};
}

async function ended(target: DeviceTarget): Promise<void> {
	for (;;) {
		const operations = (await target.control('operations')) as Record<
			'extend' | 'rekey',
			{phase: string; lastResult: string}
		>;
		if (Object.values(operations).every(({phase}) => phase === 'idle')) {
			return;
		}

		await new Promise(resolve => {
			setTimeout(resolve, pollMs);
		});
	}
}

/** Clients that write while the reads go on. */
function writers(title: string, writing: Cell, clientCount: number): Companion {
	return {
		title,
		async begin(_target, load, seconds) {
			// Longer than the reads, which begin a little later.
			const running = measureCell(writing, {...load, clientCount}, seconds + 1);
			return {
				async end() {
					await running;
				},
			};
		},
	};
}

const companions: readonly Companion[] = [
	{title: 'nothing else', begin: async () => ({end: async () => undefined})},
	operation('rekeying', 'rekey', {}),
	operation('extending the device', 'extend', {tree: 'vbd', blockCount: 16_384}),
	writers('another client writes and flushes each block', cell('flush-1'), 1),
	writers('8 clients write 4 KiB blocks', cell('randwrite-1', {depth: 8}), 8),
];

async function measureOne(companion: Companion, {directory, seconds, report}: LatencyArguments): Promise<string[]> {
	report(companion.title, companions.indexOf(companion) / companions.length);
	const file = editedAssembly('deploy.xml', directory, {
		name: `latency-${companions.indexOf(companion)}`,
		dimensions: 'vbd_size="1G" ft_size="1G"',
	});
	const target = new DeviceTarget(file, directory);
	await target.start();
	try {
		const load: FioLoad = {uri: target.uri, rangeByteLength, directory};
		await prefill(load);
		const running = await companion.begin(target, load, seconds);
		let result: FioResult;
		try {
			result = await measureCell(cell('randread-1'), load, seconds);
		} finally {
			await running.end();
		}

		return [
			companion.title,
			...[result.iops, result.p50Us, result.p99Us, result.p999Us].map(value => whole(value)),
		];
	} finally {
		await target.stop();
	}
}

/** Seconds that it takes, roughly. */
export function latencySeconds(seconds: number): number {
	return companions.length * (seconds + 4);
}

export function latencyTable(): GrowingTable {
	return new GrowingTable({
		title: 'Latency of 4 KiB random reads, depth 1, while',
		header: ['', 'IOPS', 'p50, µs', 'p99, µs', 'p99.9, µs'],
		note: 'deploy.xml, images in memory, 256 MiB filled before. fio runs on the same CPUs.',
	});
}

export async function measureLatency(given: LatencyArguments, into: GrowingTable): Promise<void> {
	for (const companion of companions) {
		into.add(...(await measureOne(companion, given)));
	}
}
