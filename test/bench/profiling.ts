/** Profiles of the device under the loads of the cells: one run of the runtime for each, on the same container. */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import type {Cell} from './cell.js';
import type {DeviceTarget} from './device-target.js';
import {measureCell, prefill, type FioResult} from './fio.js';
import {monotonicUs, summarizeProfiles, type ThreadProfile} from './profile-summary.js';

export interface CellProfile {
	readonly target: string;
	readonly cell: Cell;
	readonly result: FioResult;
	/** Where the profiles lie. */
	readonly directory: string;
	readonly threads: readonly ThreadProfile[];
}

export interface ProfilingPlan {
	readonly target: DeviceTarget;
	readonly cells: readonly Cell[];
	readonly seconds: number;
	readonly rangeByteLength: number;
	/** Where fio may leave files. */
	readonly directory: string;
	/** Where profiles go, in `ASSEMBLY/CELL/`. */
	readonly profileDirectory: string;
	report(progress: string): void;
}

async function profileCell(cell: Cell, plan: ProfilingPlan): Promise<CellProfile> {
	const {target, rangeByteLength, seconds} = plan;
	const directory = join(plan.profileDirectory, target.name, cell.name);
	mkdirSync(directory, {recursive: true});
	target.profileDirectory = directory;
	plan.report(`profiling ${target.name}: ${cell.name}`);
	await target.start();
	const from = monotonicUs();
	let result;
	let to;
	try {
		result = await measureCell(cell, {uri: target.uri, rangeByteLength, directory: plan.directory}, seconds);
		to = monotonicUs();
	} finally {
		// The profiles are written at the end of the process.
		await target.stop();
	}

	return {target: target.name, cell, result, directory, threads: summarizeProfiles(directory, {from, to})};
}

export async function profileCells(plan: ProfilingPlan): Promise<CellProfile[]> {
	const {target, rangeByteLength, directory} = plan;
	plan.report(`filling ${target.name}`);
	await target.start();
	await prefill({uri: target.uri, rangeByteLength, directory});
	await target.stop();
	const profiles: CellProfile[] = [];
	for (const cell of plan.cells) {
		profiles.push(await profileCell(cell, plan));
	}

	return profiles;
}
