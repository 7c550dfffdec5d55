/**
 * What each assembly gives: how its components are kept apart, what it encrypts with, how fast it is, what it takes.
 */
import {mkdirSync} from 'node:fs';
import {join} from 'node:path';
import {blockSize} from '../../components/sessions/block.js';
import {requestControl} from '../../runtime/supervisor/control-client.js';
import {readAssembly, withTpmAt, type AssemblyProfile} from './assembly-profile.js';
import {cells, type Cell} from './cell.js';
import {DeviceTarget} from './device-target.js';
import {measureCell, prefill, type FioResult} from './fio.js';
import {GrowingTable} from './growing-table.js';
import {memoryUse} from './process-use.js';
import {missingPrograms} from './program.js';
import type {ReportProgress} from './progress.js';
import {speedOf} from './report.js';
import {ServerProcess} from './server-process.js';
import {median} from './statistics.js';
import {makeFolder, removeFolder} from './workspace.js';
import {whole} from './whole-number.js';

const cellNames = ['randread-1', 'randwrite-1', 'randread-32', 'randwrite-32', 'seqread-4', 'seqwrite-4'];
const measured = cells.filter(({name}) => cellNames.includes(name));
const mebibyte = 2 ** 20;
/**
 * For anchors that ask for a passphrase. One that does not would take it for a key slot all the same, and each opening
 * would take a second and 200 MiB.
 */
const passphrase = {CBE_PASSPHRASE: 'bench'};
/** Seconds to create, open and fill a device. */
const preparationSeconds = 6;

export interface AssembliesArguments {
	readonly assemblies: readonly string[];
	/** Where images lie, each in a folder of its own while it is measured. */
	readonly place: string;
	readonly roundCount: number;
	readonly seconds: number;
	readonly rangeByteLength: number;
	readonly report: ReportProgress;
}

export function assembliesSeconds({
	assemblies,
	roundCount,
	seconds,
}: Pick<AssembliesArguments, 'assemblies' | 'roundCount' | 'seconds'>): number {
	return assemblies.length * (preparationSeconds + roundCount * measured.length * (seconds + 0.3));
}

export interface AssembliesTables {
	readonly speeds: GrowingTable;
	readonly leftOut: GrowingTable;
}

export function assembliesTables(): AssembliesTables {
	return {
		speeds: new GrowingTable({
			title: 'Assemblies',
			header: [
				'assembly',
				'runs as',
				'cipher',
				'read, depth 1: p50 / p99, µs',
				'write, depth 1: p50 / p99, µs',
				'4 KiB read, depth 32, IOPS',
				'4 KiB write, depth 32, IOPS',
				'1 MiB read, depth 4, MB/s',
				'1 MiB write, depth 4, MB/s',
				'opening, s',
				'memory, MiB',
			],
			note: "Depth 1 are requests of 4 KiB at random places. Opening is the time from the program's start to the first connection, of a container that is there (with ram.xml, of one that is made); memory is the most that the processes had, added up.",
		}),
		leftOut: new GrowingTable({title: 'Assemblies left out', header: ['assembly', 'why']}),
	};
}

function speedText(cell: Cell, samples: readonly FioResult[]): string {
	return whole(median(samples.map(sample => speedOf(cell, sample))));
}

function latencyOf(samples: readonly FioResult[]): string {
	return `${whole(median(samples.map(({p50Us}) => p50Us)))} / ${whole(median(samples.map(({p99Us}) => p99Us)))}`;
}

async function call(
	target: DeviceTarget,
	child: string,
	service: string,
	operation: string,
): Promise<Record<string, unknown>> {
	return (await requestControl(target.stateDirectory, {
		op: 'call',
		service,
		operation,
		request: {},
		child,
	})) as Record<string, unknown>;
}

/** The cipher as the running device tells it; a child that has none to tell does not encrypt. */
async function cipherOf(target: DeviceTarget, child: string): Promise<string> {
	try {
		return String((await call(target, child, 'device_control', 'status')).cipher);
	} catch {
		return 'none, and no integrity';
	}
}

async function timedStart(target: DeviceTarget): Promise<number> {
	const startedMs = performance.now();
	await target.start();
	return (performance.now() - startedMs) / 1000;
}

/** One row; the device is there and running when it begins and when it ends. */
async function measureDevice(
	target: DeviceTarget,
	{device, placement, name, needsInit, isVolatile}: AssemblyProfile,
	{roundCount, seconds, rangeByteLength}: AssembliesArguments,
	directory: string,
): Promise<string[]> {
	if (needsInit) {
		await target.runTool('cbe_init');
	} else if (!isVolatile) {
		await target.start();
		await target.stop();
	}

	const openingSeconds = await timedStart(target);
	const {blockCount} = await call(target, device!, 'block', 'geometry');
	const byteLength = Math.floor(Math.min(rangeByteLength, Number(blockCount) * blockSize) / mebibyte) * mebibyte;
	const load = {uri: target.uri, rangeByteLength: byteLength, directory};
	await prefill(load);
	const samples = new Map(measured.map(cell => [cell.name, [] as FioResult[]]));
	for (let round = 0; round < roundCount; round++) {
		for (const cell of measured) {
			samples.get(cell.name)!.push(await measureCell(cell, load, seconds));
		}
	}

	const texts = measured.map(cell =>
		cell.depth === 1 ? latencyOf(samples.get(cell.name)!) : speedText(cell, samples.get(cell.name)!),
	);
	const cipher = await cipherOf(target, device!);
	return [
		name,
		placement,
		cipher,
		...texts,
		openingSeconds.toFixed(2),
		whole(memoryUse(target.pid).peakByteLength / mebibyte),
	];
}

async function startTpm(directory: string): Promise<{socket: string; server: ServerProcess}> {
	const state = join(directory, 'tpm');
	mkdirSync(state);
	const socket = join(directory, 'tpm.sock');
	const server = new ServerProcess(
		'swtpm',
		[
			'socket',
			'--tpm2',
			'--tpmstate',
			`dir=${state}`,
			'--server',
			`type=unixio,path=${socket}`,
			'--ctrl',
			`type=unixio,path=${join(directory, 'tpm-control.sock')}`,
			'--flags',
			'not-need-init,startup-clear',
		],
		directory,
	);
	await server.created(socket);
	return {socket, server};
}

async function measureAssembly(
	profile: AssemblyProfile,
	assembly: string,
	given: AssembliesArguments,
): Promise<string[]> {
	const directory = makeFolder(given.place);
	const tpm = profile.needsTpm ? await startTpm(directory) : undefined;
	const file = tpm ? withTpmAt(assembly, tpm.socket, directory) : assembly;
	const target = new DeviceTarget(file, directory, {
		socket: profile.socket,
		variables: profile.needsInit || profile.needsTpm ? passphrase : {},
	});
	try {
		return await measureDevice(target, profile, given, directory);
	} finally {
		await target.stop();
		await tpm?.server.stop();
		removeFolder(directory);
	}
}

function reasonToLeaveOut({socket, device, needsTpm}: AssemblyProfile): string | undefined {
	if (socket === undefined || device === undefined) {
		return 'it has no NBD server on a unix socket';
	}

	return needsTpm && missingPrograms(['swtpm']).length > 0 ? 'it needs a TPM, and swtpm is missing' : undefined;
}

export async function measureAssemblies(
	given: AssembliesArguments,
	{speeds, leftOut}: AssembliesTables,
): Promise<void> {
	const {assemblies, report} = given;
	for (const [i, assembly] of assemblies.entries()) {
		report(assembly, i / assemblies.length);
		const profile = await readAssembly(assembly);
		const reason = reasonToLeaveOut(profile);
		if (reason !== undefined) {
			leftOut.add(profile.name, reason);
			continue;
		}

		try {
			speeds.add(...(await measureAssembly(profile, assembly, given)));
		} catch (error) {
			leftOut.add(profile.name, (error instanceof Error ? error.message : String(error)).split('\n').join(' '));
		}
	}
}
