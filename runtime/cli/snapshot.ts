/** `runtime snapshot`: what a device keeps of its past. */
import {callDevice, listSnapshots, type DeviceTarget} from './device-call.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';
import {blockSize, formatBytes} from './quantity.js';
import {formatTable} from './table.js';

interface SnapshotOptions {
	readonly target: DeviceTarget;
	readonly json: boolean;
}

export async function createSnapshot({target, json}: SnapshotOptions): Promise<number> {
	const {generation} = await callDevice(target, 'create_snapshot') as {generation: number};
	print(json ? JSON.stringify({generation}) : `snapshot ${generation} was created`);
	return exitCode.ok;
}

export async function showSnapshots({target, json}: SnapshotOptions): Promise<number> {
	const snapshots = await listSnapshots(target);
	if (json) {
		print(JSON.stringify({snapshots: snapshots.map(({generation, blockCount}) => ({generation, bytes: blockCount * blockSize}))}));
		return exitCode.ok;
	}

	const rows = snapshots.map(({generation, blockCount}) => [String(generation), formatBytes(blockCount * blockSize), `snapshots/${generation}`]);
	for (const line of rows.length > 0 ? formatTable(['SNAPSHOT', 'SIZE', 'NBD EXPORT'], rows) : ['there are no snapshots']) {
		print(line);
	}

	return exitCode.ok;
}

export async function discardSnapshot({target, json}: SnapshotOptions, generation: number): Promise<number> {
	await callDevice(target, 'discard_snapshot', {generation});
	print(json ? JSON.stringify({discarded: generation}) : `snapshot ${generation} was discarded`);
	return exitCode.ok;
}

export async function revertSnapshot({target, json}: SnapshotOptions, generation: number): Promise<number> {
	await callDevice(target, 'revert_snapshot', {generation});
	print(json ? JSON.stringify({reverted: generation}) : `the device holds the content of snapshot ${generation} again; the snapshot stays`);
	return exitCode.ok;
}
