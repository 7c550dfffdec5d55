/** Results as Markdown. */
import {availableParallelism, cpus, release} from 'node:os';
import type {Calibration} from './calibration.js';
import type {Cell} from './cell.js';
import type {CellResult, Comparison} from './comparison.js';
import type {FioResult} from './fio.js';
import type {CipherLimit, MediumSpeed} from './limit.js';
import {originalSpeeds, type OriginalLoadResult} from './original-load.js';
import type {CellProfile} from './profiling.js';
import type {RekeyingResult} from './rekeying-speed.js';
import {median, ratios, summarize, type Summary} from './statistics.js';
import {whole} from './whole-number.js';

const mebibyte = 2 ** 20;
const megabyte = 1e6;

export function table(header: readonly string[], rows: ReadonlyArray<readonly string[]>): string[] {
	const line = (row: readonly string[]) => `| ${row.join(' | ')} |`;
	return [
		line(header),
		line(header.map((_, column) => (column === 0 ? '---' : '---:'))),
		...rows.map(row => line(row)),
	];
}

/** In the cell's unit. */
export function speedOf({unit}: Cell, {iops, bytesPerSecond}: Pick<FioResult, 'iops' | 'bytesPerSecond'>): number {
	return unit === 'IOPS' ? iops : bytesPerSecond / megabyte;
}

export function speedsOf({cell, samples}: CellResult): number[] {
	return samples.map(sample => speedOf(cell, sample));
}

export function withSpread({median: middle, min, max}: Summary): string {
	return `${middle.toFixed(2)} (${min.toFixed(2)}–${max.toFixed(2)})`;
}

export function speedText(result: CellResult | undefined): string {
	return result && result.samples.length > 0 ? `${whole(median(speedsOf(result)))} ${result.cell.unit}` : '–';
}

export function cpuText(result: CellResult | undefined): string {
	return result && result.samples.length > 0
		? whole(median(result.samples.map(({cpuUsPerRequest}) => cpuUsPerRequest)))
		: '–';
}

function ratioTexts(device: CellResult, peer: CellResult | undefined, goal: number | undefined): string[] {
	const ratio = peer && ratios(speedsOf(device), speedsOf(peer));
	return [ratio ? withSpread(ratio) : '–', goal === undefined ? '–' : `≥ ${goal.toFixed(1)}`];
}

/** One table for each assembly. */
export function comparisonLines(results: readonly CellResult[]): string[] {
	const devices = [...new Set(results.filter(({role}) => role === 'device').map(({target}) => target))];
	return devices.flatMap(name => {
		const rows = results
			.filter(({target}) => target === name)
			.map(device => {
				const peer = (role: CellResult['role']) =>
					results.find(other => other.role === role && other.cell === device.cell);
				const {title, goals} = device.cell;
				const [raw, qcow2] = [peer('raw'), peer('qcow2')];
				return [
					title,
					speedText(device),
					speedText(raw),
					speedText(qcow2),
					...ratioTexts(device, raw, goals?.raw),
					...ratioTexts(device, qcow2, goals?.qcow2),
					[device, raw, qcow2].map(result => cpuText(result)).join(' / '),
				];
			});
		const header = [
			'cell',
			name,
			'raw+LUKS',
			'qcow2+LUKS',
			'against raw',
			'goal',
			'against qcow2',
			'goal',
			'CPU µs a request (device / raw / qcow2)',
		];
		return [`### ${name}`, '', ...table(header, rows), ''];
	});
}

export function memoryLines(memory: Comparison['memory'], storage: Cell['storage']): string[] {
	const rows = memory.map(({target, peakByteLength, byteLength}) => [
		target,
		whole(peakByteLength / mebibyte),
		whole(byteLength / mebibyte),
	]);
	return [
		`### Memory of the serving process, images ${storage === 'memory' ? 'in memory' : 'on disk'}`,
		'',
		...table(['target', 'peak (VmHWM), MiB', 'at the end (VmRSS), MiB'], rows),
		'',
	];
}

/** @param results of several passes; the medians are shown */
export function originalLoadLines(results: readonly OriginalLoadResult[]): string[] {
	const kinds = new Map(results.map(({cipher, depth}) => [`${cipher}, depth ${depth}`, {cipher, depth}]));
	const rows = [...kinds].flatMap(([kind, {cipher, depth}]) =>
		(['write', 'read'] as const).map(direction => {
			const speed = summarize(
				results
					.filter(result => result.cipher === cipher && result.depth === depth)
					.map(result => result[direction]),
			);
			const {min, max} = originalSpeeds[direction];
			const text = `${whole(speed.median)} (${whole(speed.min)}–${whole(speed.max)})`;
			return [
				`${direction}, ${kind}`,
				text,
				`${min}–${max}`,
				`${(speed.median / max).toFixed(1)}–${(speed.median / min).toFixed(1)}`,
				'≥ 4',
			];
		}),
	);
	return [
		'### In process: 25,600 leaves in order, one block a request, from memory, one thread',
		'',
		...table(['load', 'MiB/s', 'original, MiB/s', 'ratio', 'goal'], rows),
		'',
	];
}

export function rekeyingLines({target, byteLength, write, rekeying, foreground}: RekeyingResult): string[] {
	const megabytes = (bytesPerSecond: number) => `${whole(bytesPerSecond / megabyte)} MB/s`;
	const rows = foreground.map(({cell, alone, beside, rekeying: meanwhile}) => {
		const speed = (result: typeof alone) => `${whole(speedOf(cell, result))} ${cell.unit}`;
		return [cell.title, speed(alone), speed(beside), (beside.iops / alone.iops).toFixed(2), megabytes(meanwhile)];
	});
	return [
		`### ${target}: rekeying ${whole(byteLength / mebibyte)} MiB with 3 snapshots`,
		'',
		...table(
			['what', 'speed'],
			[
				['1 MiB sequential write, depth 4, with a flush at the end', megabytes(write)],
				['rekeying, no client', megabytes(rekeying)],
				['rekeying as a part of writing (goal: at least 0.33)', (rekeying / write).toFixed(2)],
			],
		),
		'',
		...table(['clients beside a rekeying', 'without', 'during', 'ratio', 'the rekeying meanwhile'], rows),
		'',
	];
}

export function limitLines(limits: readonly CipherLimit[], medium: MediumSpeed): string[] {
	const speed = (value: number) => `${whole(value / megabyte)} MB/s`;
	const rows = [
		...limits.map(({cipher, coreCount, seal, open}) => [
			`${cipher} + label, ${coreCount} ${coreCount === 1 ? 'core' : 'cores'}`,
			speed(seal),
			speed(open),
		]),
		['the medium alone, 1 thread', speed(medium.write), speed(medium.read)],
	];
	return ['### Limits', '', ...table(['what', 'write', 'read'], rows), ''];
}

/**
 * The device's sequential speed as a part of what its cipher, with the label, and the medium allow.
 * @param ciphers by target
 */
export function shareLines(
	results: readonly CellResult[],
	all: readonly CipherLimit[],
	medium: MediumSpeed,
	ciphers: ReadonlyMap<string, string>,
): string[] {
	const coreCounts = [...new Set(all.map(({coreCount}) => coreCount))];
	const rows = results
		.filter(({role, cell, samples}) => role === 'device' && cell.unit === 'MB/s' && samples.length > 0)
		.map(result => {
			const bytesPerSecond = median(result.samples.map(sample => sample.bytesPerSecond));
			const [cipher, transfer] =
				result.cell.pattern === 'read' ? (['open', 'read'] as const) : (['seal', 'write'] as const);
			const limits = all.filter(limit => limit.cipher === ciphers.get(result.target));
			return [
				`${result.target} (${ciphers.get(result.target) ?? 'unknown'}): ${result.cell.title}`,
				...limits.map(limit => (bytesPerSecond / limit[cipher]).toFixed(2)),
				(bytesPerSecond / medium[transfer]).toFixed(2),
			];
		});
	const header = [
		"the device's share",
		...coreCounts.map(coreCount => `of the cipher on ${coreCount}`),
		'of the medium',
	];
	return rows.length > 0
		? [
				...table(header, rows),
				'',
				'Goal: at least 0.60 of the cipher on as many cores as the assembly uses for it.',
				'',
			]
		: [];
}

export function profileLines(profiles: readonly CellProfile[]): string[] {
	const percent = (share: number) => `${(share * 100).toFixed(1)} %`;
	return profiles.flatMap(({target, cell, result, directory, threads}) => [
		`### ${target}: ${cell.title}`,
		'',
		`${whole(result.iops)} IOPS, ${whole(result.bytesPerSecond / megabyte)} MB/s while profiled; profiles in ${directory}`,
		'',
		...threads
			.filter(({busy}) => busy > 0.01)
			.flatMap(({thread, busy, top}) => [
				`- ${thread}: busy ${percent(busy)}`,
				...top.map(({place, share}) => `  - ${percent(share)} ${place}`),
			]),
		'',
	]);
}

export function machineLines(): string[] {
	const [{model}] = cpus();
	return [
		`Machine: ${availableParallelism()} CPUs, ${model.trim()}, Linux ${release()}, node ${process.version}; ${new Date().toISOString().slice(0, 10)}.`,
	];
}

export function noiseLines(calibration: Calibration): string[] {
	const times = calibration.timesMs.map(time => time.toFixed(0)).join(', ');
	return [
		`Calibration (the same work on all CPUs, ms): ${times}.`,
		...calibration.warnings.map(warning => `**Warning:** ${warning}.`),
	];
}
