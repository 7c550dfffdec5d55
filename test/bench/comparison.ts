/** Alternating rounds: every target meets every cell in every round, in an order that turns from round to round. */
import {measureCell, prefill, type FioResult} from './fio.js';
import {cpuTimeUs, memoryUse, type MemoryUse} from './process-use.js';
import type {Calibration} from './calibration.js';
import type {Cell} from './cell.js';
import type {ReportProgress} from './progress.js';
import type {Target} from './target.js';
import {whole} from './whole-number.js';

export interface Sample extends FioResult {
	/**
	 * CPU time of the serving process for one request, in microseconds. Others on the machine change it less than
	 * speed, but do change it.
	 */
	readonly cpuUsPerRequest: number;
}

export interface CellResult {
	readonly target: string;
	readonly role: Target['role'];
	readonly cell: Cell;
	readonly samples: Sample[];
}

/** What is known so far; samples and memory are added while it is measured. */
export interface Comparison {
	readonly results: readonly CellResult[];
	readonly memory: Array<{readonly target: string} & MemoryUse>;
}

export interface ComparisonPlan {
	readonly targets: readonly Target[];
	readonly cells: readonly Cell[];
	readonly roundCount: number;
	readonly seconds: number;
	readonly rangeByteLength: number;
	readonly directory: string;
	readonly calibration: Calibration;
	readonly report: ReportProgress;
	/** Called before each measurement. */
	readonly prepare?: () => void;
}

async function sampleOf(
	cell: Cell,
	target: Target,
	{rangeByteLength, directory, seconds, prepare}: ComparisonPlan,
): Promise<Sample> {
	prepare?.();
	const before = cpuTimeUs(target.pid);
	const result = await measureCell(cell, {uri: target.uri, rangeByteLength, directory}, seconds);
	return {...result, cpuUsPerRequest: (cpuTimeUs(target.pid) - before) / result.requestCount};
}

async function startFilled(target: Target, {rangeByteLength, directory, report}: ComparisonPlan): Promise<void> {
	report(`starting and filling ${target.name}`);
	await target.start();
	await prefill({uri: target.uri, rangeByteLength, directory});
}

/** A peer that cannot start is left out, the device is not. */
async function startAll(plan: ComparisonPlan): Promise<Target[]> {
	const started: Target[] = [];
	for (const target of plan.targets) {
		try {
			await startFilled(target, plan);
			started.push(target);
		} catch (error) {
			if (target.role === 'device') {
				throw error;
			}

			plan.report(`${target.name} is left out: ${error instanceof Error ? error.message : String(error)}`);
		}
	}

	return started;
}

function turned<T>(list: readonly T[], by: number): T[] {
	const first = by % list.length;
	return [...list.slice(first), ...list.slice(0, first)];
}

function speedText({target, cell, samples}: CellResult): string {
	const {iops, bytesPerSecond} = samples.at(-1)!;
	return `${target} ${whole(cell.unit === 'IOPS' ? iops : bytesPerSecond / 1e6)}`;
}

async function runRound(
	plan: ComparisonPlan,
	round: number,
	{targets, results}: {targets: readonly Target[]; results: readonly CellResult[]},
): Promise<void> {
	for (const [i, cell] of plan.cells.entries()) {
		const measured: CellResult[] = [];
		for (const target of turned(targets, round)) {
			const result = results.find(candidate => candidate.cell === cell && candidate.target === target.name);
			if (result) {
				result.samples.push(await sampleOf(cell, target, plan));
				measured.push(result);
			}
		}

		plan.report(
			`round ${round + 1} of ${plan.roundCount}, ${cell.name}: ${measured.map(result => speedText(result)).join(', ')} ${cell.unit}`,
			(round + (i + 1) / plan.cells.length) / plan.roundCount,
		);
	}

	await plan.calibration.measure();
}

/** For the targets and cells of a plan. */
export function emptyComparison({targets, cells}: Pick<ComparisonPlan, 'targets' | 'cells'>): Comparison {
	return {
		results: targets.flatMap(({name, role}) =>
			cells.map((cell): CellResult => ({target: name, role, cell, samples: []})),
		),
		memory: [],
	};
}

/** Starts all targets, measures, stops them. */
export async function compare(plan: ComparisonPlan, {results, memory}: Comparison): Promise<void> {
	try {
		const targets = await startAll(plan);
		await plan.calibration.measure();
		for (let round = 0; round < plan.roundCount; round++) {
			await runRound(plan, round, {targets, results});
		}

		memory.push(...targets.map(({name, pid}) => ({target: name, ...memoryUse(pid)})));
	} finally {
		await Promise.all(plan.targets.map(async target => target.stop()));
	}
}
