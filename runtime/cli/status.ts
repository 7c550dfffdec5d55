/** `runtime status`: every component of a running runtime, and how full its devices are. */
import {displayPath} from '../deployment/display-path.js';
import {requestControl, type ChildStatus, type DeploymentStatus, type RuntimeStatus} from '../supervisor/control-client.js';
import {describeDevice, type DeviceDescription} from './device-call.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';
import {describeProgress} from './progress-line.js';
import {blockSize, formatBytes, formatSeconds} from './quantity.js';
import {formatTable} from './table.js';

const header = ['CHILD', 'BINARY', 'STATE', 'TID', 'PROCESS', 'CPUS', 'CPU s', 'SESSIONS', 'REQUESTS', 'MiB', 'RESTARTS', 'DETAILS'];

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
		String(child.restarts),
		details.join(' '),
	];
}

/** One line; reasons of several lines are in the log and in `--json`. */
function describeDeployment({file, generation, watched, lastEdit}: DeploymentStatus): string {
	const edit = lastEdit && `; last edit ${lastEdit.result} at ${lastEdit.time}: ${lastEdit.message.split('\n')[0]}${lastEdit.pauseMs > 0 ? `; requests waited for ${lastEdit.pauseMs} ms at most` : ''}`;
	return `deployment ${displayPath(file)}: generation ${generation}${watched ? '' : ', not watched'}${edit ?? ''}`;
}

export function describeStatus({pid, residentBytes, deployment, children}: RuntimeStatus): string[] {
	return [
		`runtime ${pid}: ${children.length} components, ${formatMebibytes(residentBytes)} MiB of memory`,
		...deployment ? [describeDeployment(deployment)] : [],
		...formatTable(header, children.map(child => rowOf(child))),
	];
}

const deviceHeader = ['DEVICE', 'STATE', 'SIZE', 'USED', 'SHARED', 'GENERATION', 'SNAPSHOTS', 'SPARE', 'LEFT', 'LEFT %', 'HELD BY SNAPSHOTS', 'LASTS', 'GOING ON'];

function operationsOf({operations}: DeviceDescription): string {
	return Object.entries(operations)
		.filter(([, {phase}]) => phase !== 'idle')
		.map(([name, operation]) => `${name} ${describeProgress(operation)}`)
		.join('; ') || '-';
}

function deviceRow(device: DeviceDescription): string[] {
	const {child, state, locked, blockCount, lastSecuredGeneration, snapshotCount, poolLeafCount, poolAllocatableCount, poolHeldCount, poolSecondsLeft, usedBlockCount, sharedBlockCount} = device;
	const bytesOf = (count: number | undefined) => count === undefined ? '-' : formatBytes(count * blockSize);
	const lockedState = state === 'unknown' ? 'locked' : `${state}, locked`;
	return [
		child, locked ? lockedState : state, bytesOf(blockCount), bytesOf(usedBlockCount), bytesOf(sharedBlockCount), String(lastSecuredGeneration), String(snapshotCount),
		bytesOf(poolLeafCount), bytesOf(poolAllocatableCount), poolLeafCount === 0 ? '-' : String(Math.floor(100 * poolAllocatableCount / poolLeafCount)), bytesOf(poolHeldCount),
		poolSecondsLeft === undefined ? '-' : formatSeconds(poolSecondsLeft),
		operationsOf(device),
	];
}

export function describeDevices(devices: readonly DeviceDescription[]): string[] {
	const restrictions = devices.flatMap(({child, restriction}) => restriction === undefined ? [] : `${child}: ${restriction}`);
	return devices.length === 0 ? [] : ['', ...formatTable(deviceHeader, devices.map(device => deviceRow(device))), ...restrictions];
}

export async function status(stateDirectory: string, asJson: boolean): Promise<number> {
	const current = await requestControl(stateDirectory, {op: 'status'}) as RuntimeStatus;
	// Whether a child serves a device only shows when it is asked.
	const described = await Promise.all(current.children.map(async ({name}) => describeDevice(stateDirectory, name)));
	const devices = described.filter(device => device !== undefined);
	for (const line of asJson ? [JSON.stringify({...current, devices}, undefined, '\t')] : [...describeStatus(current), ...describeDevices(devices)]) {
		print(line);
	}

	return exitCode.ok;
}
