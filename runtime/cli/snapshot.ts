/** `runtime snapshot`: what a device keeps of its past. */
import {z} from 'zod';
import {callDevice, listSnapshots, measureSnapshots, type DeviceTarget} from './device-call.js';
import {exitCode} from './exit-code.js';
import {print} from './output.js';
import {blockSize, formatBytes} from './quantity.js';
import {formatTable} from './table.js';

const Created = z.object({generation: z.number(), isNew: z.boolean()});

interface SnapshotOptions {
	readonly target: DeviceTarget;
	readonly json: boolean;
}

export async function createSnapshot({target, json}: SnapshotOptions): Promise<number> {
	const {generation, isNew} = Created.parse(await callDevice(target, 'create_snapshot'));
	print(json ? JSON.stringify({generation, isNew}) : isNew
		? `snapshot ${generation} was created`
		: `nothing was written since snapshot ${generation}, which has the present content already; no other one was created`);
	return exitCode.ok;
}

export async function showSnapshots({target, json}: SnapshotOptions): Promise<number> {
	const snapshots = await listSnapshots(target);
	const sizes = snapshots.length > 0 ? await measureSnapshots(target) : new Map<number, number>();
	const heldBytes = (generation: number) => {
		const blockCount = sizes.get(generation);
		return blockCount === undefined ? undefined : blockCount * blockSize;
	};

	if (json) {
		print(JSON.stringify({snapshots: snapshots.map(({generation, blockCount}) => ({generation, bytes: blockCount * blockSize, heldBytes: heldBytes(generation)}))}));
		return exitCode.ok;
	}

	const rows = snapshots.map(({generation, blockCount}) => {
		const held = heldBytes(generation);
		return [String(generation), formatBytes(blockCount * blockSize), held === undefined ? '-' : formatBytes(held), `snapshots/${generation}`];
	});
	for (const line of rows.length > 0 ? formatTable(['SNAPSHOT', 'SIZE', 'HELD ALONE', 'NBD EXPORT'], rows) : ['there are no snapshots']) {
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
