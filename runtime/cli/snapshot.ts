/** `runtime snapshot`: what a device keeps of its past. */
import {z} from 'zod';
import {nearestName} from '../deployment/suggestion.js';
import {ControlError} from '../supervisor/control-client.js';
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

function createdText({generation, isNew}: z.output<typeof Created>, name: string | undefined): string {
	if (isNew) {
		return `snapshot ${generation}${name === undefined ? '' : ` "${name}"`} was created`;
	}

	return name === undefined
		? `nothing was written since snapshot ${generation}, which has the present content already; no other one was created`
		: `nothing was written since snapshot ${generation}, which has the present content already: it is called "${name}" now`;
}

export async function createSnapshot({target, json}: SnapshotOptions, name: string | undefined): Promise<number> {
	const created = Created.parse(await callDevice(target, 'create_snapshot', name === undefined ? {} : {name}));
	const {generation, isNew} = created;
	print(json ? JSON.stringify({generation, ...(name !== undefined && {name}), isNew}) : createdText(created, name));
	return exitCode.ok;
}

const generationPattern = /^\d{1,15}$/;

/** The snapshot that is meant, by its number or its name. @throws ControlError where there is none of that name */
async function findSnapshot(target: DeviceTarget, wanted: string): Promise<{generation: number; text: string}> {
	if (generationPattern.test(wanted)) {
		return {generation: Number(wanted), text: wanted};
	}

	const snapshots = await listSnapshots(target);
	const found = snapshots.find(({name}) => name === wanted);
	if (!found) {
		const nearest = nearestName(
			wanted,
			snapshots.flatMap(({name}) => (name === undefined ? [] : [name])),
		);
		const remedy = nearest === undefined ? '' : `did you mean "${nearest}"? `;
		throw new ControlError(
			'unknown_snapshot',
			`there is no snapshot "${wanted}"; ${remedy}"runtime snapshot list" shows their numbers and names`,
		);
	}

	return {generation: found.generation, text: `${found.generation} "${wanted}"`};
}

/** The time of day here, to the second. */
function localTime(seconds: number): string {
	const date = new Date(seconds * 1000);
	const two = (value: number) => String(value).padStart(2, '0');
	const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
	return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(value => two(value)).join(':')}`;
}

function isoTime(seconds: number): string {
	return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

export async function showSnapshots({target, json}: SnapshotOptions): Promise<number> {
	const snapshots = await listSnapshots(target);
	const sizes = snapshots.length > 0 ? await measureSnapshots(target) : new Map<number, number>();
	const heldBytes = (generation: number) => {
		const blockCount = sizes.get(generation);
		return blockCount === undefined ? undefined : blockCount * blockSize;
	};

	if (json) {
		print(
			JSON.stringify({
				snapshots: snapshots.map(({generation, name, time, blockCount}) => ({
					generation,
					name,
					time: time === undefined ? undefined : isoTime(time),
					bytes: blockCount * blockSize,
					heldBytes: heldBytes(generation),
				})),
			}),
		);
		return exitCode.ok;
	}

	const rows = snapshots.map(({generation, name, time, blockCount}) => {
		const held = heldBytes(generation);
		return [
			String(generation),
			name ?? '-',
			time === undefined ? 'unknown' : localTime(time),
			formatBytes(blockCount * blockSize),
			held === undefined ? '-' : formatBytes(held),
			`snapshots/${generation}`,
		];
	});
	for (const line of rows.length > 0
		? formatTable(['SNAPSHOT', 'NAME', 'TIME', 'SIZE', 'HELD ALONE', 'NBD EXPORT'], rows)
		: ['there are no snapshots']) {
		print(line);
	}

	return exitCode.ok;
}

export async function discardSnapshot({target, json}: SnapshotOptions, wanted: string): Promise<number> {
	const {generation, text} = await findSnapshot(target, wanted);
	await callDevice(target, 'discard_snapshot', {generation});
	print(json ? JSON.stringify({discarded: generation}) : `snapshot ${text} was discarded`);
	return exitCode.ok;
}

export async function revertSnapshot({target, json}: SnapshotOptions, wanted: string): Promise<number> {
	const {generation, text} = await findSnapshot(target, wanted);
	await callDevice(target, 'revert_snapshot', {generation});
	print(
		json
			? JSON.stringify({reverted: generation})
			: `the device holds the content of snapshot ${text} again; the snapshot stays`,
	);
	return exitCode.ok;
}
