/** Requests to a device of a running runtime, and what it answers. */
import {z} from 'zod';
import {ControlError, requestControl} from '../supervisor/control-client.js';

export interface DeviceTarget {
	readonly stateDirectory: string;
	/** The child that serves the device; the first one where it is not given. */
	readonly child?: string;
}

export const OperationStatus = z.object({
	phase: z.enum(['idle', 'in-progress', 'paused']),
	lastResult: z.enum(['none', 'success', 'failed']),
	waitsFor: z.string().optional(),
	done: z.number(),
	total: z.number(),
	bytesPerSecond: z.number(),
	secondsLeft: z.number().optional(),
});

export type OperationStatus = z.output<typeof OperationStatus>;

const Operations = z.object({extend: OperationStatus, rekey: OperationStatus, check: OperationStatus});

const Snapshots = z.object({
	snapshots: z.array(
		z.object({
			generation: z.number(),
			name: z.string().optional(),
			time: z.number().optional(),
			blockCount: z.number(),
		}),
	),
});

const DeviceStatus = z.object({
	locked: z.boolean(),
	state: z.string(),
	blockCount: z.number(),
	currentGeneration: z.number(),
	lastSecuredGeneration: z.number(),
	cipher: z.string(),
	usedBlockCount: z.number().optional(),
	sharedBlockCount: z.number().optional(),
	poolLeafCount: z.number(),
	poolAllocatableCount: z.number(),
	poolHeldCount: z.number(),
	poolSecondsLeft: z.number().optional(),
	restriction: z.string().optional(),
});

/** @throws ControlError */
export async function callDevice(
	{stateDirectory, child}: DeviceTarget,
	operation: string,
	request: Record<string, unknown> = {},
): Promise<unknown> {
	return requestControl(stateDirectory, {op: 'call', service: 'device_control', operation, request, child});
}

export async function listSnapshots(target: DeviceTarget) {
	return Snapshots.parse(await callDevice(target, 'list_snapshots')).snapshots;
}

const SnapshotSizes = z.object({snapshots: z.array(z.object({generation: z.number(), soleBlockCount: z.number()}))});

/**
 * Blocks that each snapshot holds alone, by its generation; empty where the device cannot tell now, as while it is
 * locked.
 */
export async function measureSnapshots(target: DeviceTarget): Promise<Map<number, number>> {
	try {
		const {snapshots} = SnapshotSizes.parse(await callDevice(target, 'measure_snapshots'));
		return new Map(snapshots.map(({generation, soleBlockCount}) => [generation, soleBlockCount]));
	} catch (error) {
		if (error instanceof ControlError && error.code === 'locked') {
			return new Map();
		}

		throw error;
	}
}

export async function readOperations(target: DeviceTarget) {
	return Operations.parse(await callDevice(target, 'operations'));
}

export async function readDeviceStatus(target: DeviceTarget) {
	return DeviceStatus.parse(await callDevice(target, 'status'));
}

/** Everything that `runtime status` shows of a device. */
export interface DeviceDescription extends z.output<typeof DeviceStatus> {
	readonly child: string;
	readonly snapshotCount: number;
	readonly operations: z.output<typeof Operations>;
}

/** Undefined where the child serves no device, or does not answer now. */
export async function describeDevice(stateDirectory: string, child: string): Promise<DeviceDescription | undefined> {
	const target = {stateDirectory, child};
	try {
		const status = await readDeviceStatus(target);
		// A device that has been locked since its start knows of none.
		const snapshots = status.state === 'unknown' ? [] : await listSnapshots(target);
		return {child, ...status, snapshotCount: snapshots.length, operations: await readOperations(target)};
	} catch (error) {
		if (error instanceof ControlError) {
			return undefined;
		}

		throw error;
	}
}
