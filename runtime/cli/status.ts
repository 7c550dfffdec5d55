/** `runtime status`: every component of a running runtime, and how full its devices are. */
import {setTimeout} from 'node:timers/promises';
import {displayPath} from '../deployment/display-path.js';
import {
	requestControl,
	type ChildStatus,
	type DeploymentStatus,
	type RuntimeStatus,
} from '../supervisor/control-client.js';
import {describeDevice, type DeviceDescription} from './device-call.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';
import {describeProgress} from './progress-line.js';
import {blockSize, formatBytes, formatSeconds} from './quantity.js';
import {fitTable, fitText, wrapText} from './table.js';

/** Columns of a terminal that the tables fit in, unless all is asked for. */
const usualWidth = 100;

const watchIntervalMs = 2000;

const header = [
	'CHILD',
	'BINARY',
	'STATE',
	'TID',
	'PROCESS',
	'CPUS',
	'CPU s',
	'SESSIONS',
	'REQUESTS',
	'MiB',
	'MEMORY',
	'HEAP',
	'BUFFERS',
	'RESTARTS',
	'DETAILS',
];

/** What is left out first where there is no room. */
const expendable = ['DETAILS', 'PROCESS', 'BUFFERS', 'HEAP', 'CPUS', 'TID', 'SESSIONS', 'BINARY', 'MiB'];

function formatMebibytes(byteLength: number): string {
	return (byteLength / 2 ** 20).toFixed(1);
}

function rowOf(child: ChildStatus): string[] {
	const details = Object.entries(child.details).map(([name, value]) => `${name}=${value}`);
	return [
		child.name,
		child.binary,
		child.state,
		child.tid === null ? '-' : String(child.tid),
		child.pid === null ? 'runtime' : `own, ${formatMebibytes(child.residentBytes ?? 0)} MiB`,
		child.cpus,
		(child.cpuMs / 1000).toFixed(2),
		String(child.sessions),
		String(child.requests),
		formatMebibytes(child.bytes),
		formatMebibytes(child.heapBytes + child.externalBytes + child.arenaBytes),
		formatMebibytes(child.heapBytes),
		formatMebibytes(child.externalBytes + child.arenaBytes),
		// What a person asked for is no fault.
		child.requestedRestarts === 0 ? String(child.restarts) : `${child.restarts}, ${child.requestedRestarts} asked`,
		details.join(' '),
	];
}

/** One line; reasons of several lines are in the log and in `--json`. */
function describeDeployment({file, generation, watched, lastEdit}: DeploymentStatus): string {
	const edit =
		lastEdit &&
		`; last edit ${lastEdit.result} at ${lastEdit.time}: ${lastEdit.message.split('\n')[0]}${lastEdit.pauseMs > 0 ? `; requests waited for ${lastEdit.pauseMs} ms at most` : ''}`;
	return `deployment ${displayPath(file)}: generation ${generation}${watched ? '' : ', not watched'}${edit ?? ''}`;
}

interface Description {
	readonly lines: readonly string[];
	/** Nothing was left out. */
	readonly isComplete: boolean;
}

function describeStatus(
	{pid, residentBytes, heapBytes, externalBytes, deployment, children}: RuntimeStatus,
	width: number,
): Description {
	const {lines, isComplete} = fitTable(
		header,
		children.map(child => rowOf(child)),
		width,
		expendable,
	);
	const own = formatMebibytes(heapBytes + externalBytes);
	const head = [
		`runtime ${pid}: ${children.length} components, ${formatMebibytes(residentBytes)} MiB of memory, ${own} MiB of it the runtime's own`,
		...(deployment ? [describeDeployment(deployment)] : []),
	];
	return {
		lines: [...head.map(line => fitText(line, width)), ...lines],
		isComplete: isComplete && head.every(line => line.length <= width),
	};
}

const deviceHeader = [
	'DEVICE',
	'STATE',
	'SIZE',
	'USED',
	'SHARED',
	'GENERATION',
	'SNAPSHOTS',
	'SPARE',
	'LEFT',
	'LEFT %',
	'HELD BY SNAPSHOTS',
	'LASTS',
	'GOING ON',
];

function operationsOf({operations}: DeviceDescription): string {
	return (
		Object.entries(operations)
			.filter(([, {phase}]) => phase !== 'idle')
			.map(([name, operation]) => `${name} ${describeProgress(operation)}`)
			.join('; ') || '-'
	);
}

function deviceRow(device: DeviceDescription): string[] {
	const {
		child,
		state,
		locked,
		blockCount,
		lastSecuredGeneration,
		snapshotCount,
		poolLeafCount,
		poolAllocatableCount,
		poolHeldCount,
		poolSecondsLeft,
		usedBlockCount,
		sharedBlockCount,
	} = device;
	const bytesOf = (count: number | undefined) => (count === undefined ? '-' : formatBytes(count * blockSize));
	const lockedState = state === 'unknown' ? 'locked' : `${state}, locked`;
	return [
		child,
		locked ? lockedState : state,
		bytesOf(blockCount),
		bytesOf(usedBlockCount),
		bytesOf(sharedBlockCount),
		String(lastSecuredGeneration),
		String(snapshotCount),
		bytesOf(poolLeafCount),
		bytesOf(poolAllocatableCount),
		poolLeafCount === 0 ? '-' : String(Math.floor((100 * poolAllocatableCount) / poolLeafCount)),
		bytesOf(poolHeldCount),
		poolSecondsLeft === undefined ? '-' : formatSeconds(poolSecondsLeft),
		operationsOf(device),
	];
}

/** What is left out first where there is no room; what goes on then has lines of its own. */
const expendableOfDevices = ['GOING ON', 'HELD BY SNAPSHOTS', 'SHARED', 'LEFT', 'GENERATION', 'LASTS'];

function describeDevices(devices: readonly DeviceDescription[], width: number): Description {
	if (devices.length === 0) {
		return {lines: [], isComplete: true};
	}

	const {lines, isComplete} = fitTable(
		deviceHeader,
		devices.map(device => deviceRow(device)),
		width,
		expendableOfDevices,
	);
	const goingOn = lines[0].includes('GOING ON')
		? []
		: devices
				.filter(device => operationsOf(device) !== '-')
				.map(device => fitText(`${device.child}: ${operationsOf(device)}`, width));
	const restrictions = devices.flatMap(({child, restriction}) =>
		restriction === undefined ? [] : wrapText(`${child}: ${restriction}`, width),
	);
	return {lines: ['', ...lines, ...goingOn, ...restrictions], isComplete};
}

async function describe(stateDirectory: string, {json, wide}: StatusOptions): Promise<string[]> {
	const current = (await requestControl(stateDirectory, {op: 'status'})) as RuntimeStatus;
	// Whether a child serves a device only shows when it is asked.
	const described = await Promise.all(current.children.map(async ({name}) => describeDevice(stateDirectory, name)));
	const devices = described.filter(device => device !== undefined);
	if (json) {
		return [JSON.stringify({...current, devices}, undefined, '\t')];
	}

	const width = wide ? Number.MAX_SAFE_INTEGER : usualWidth;
	const parts = [describeStatus(current, width), describeDevices(devices, width)];
	const rest = parts.every(({isComplete}) => isComplete)
		? []
		: ['', 'MEMORY, HEAP, BUFFERS and MiB of payload in MiB; there is more with --wide'];
	return [...parts.flatMap(({lines}) => lines), ...rest];
}

export interface StatusOptions {
	readonly json?: boolean;
	/** All columns, however wide. */
	readonly wide?: boolean;
	/** Again and again, until somebody interrupts or the runtime ends. */
	readonly watch?: boolean;
}

export async function status(stateDirectory: string, options: StatusOptions): Promise<number> {
	for (;;) {
		const lines = await describe(stateDirectory, options);
		// A terminal is shown one page in the place of the last one.
		const clear = options.watch && process.stdout.isTTY ? '\u001B[H\u001B[J' : '';
		print(`${clear}${lines.join('\n')}`);
		if (!options.watch) {
			return exitCode.ok;
		}

		await setTimeout(watchIntervalMs);
	}
}
