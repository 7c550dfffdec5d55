/**
 * The operations of the device's two sessions, each of them once: what it needs the lock for, what it does, and its
 * reply.
 */
import {SessionError, type Client, type Handlers} from '../../runtime/sdk/session.js';
import {writeDurably} from '../lib/format/durable-write.js';
import type {block} from '../sessions/block.js';
import type {deviceControl} from '../sessions/device-control.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import type {DeviceAccess} from './device-access.js';
import {keptSnapshots} from './transition.js';

/** What is known of a device that has been locked since its start. */
const unknownStatus = {
	locked: true,
	state: 'unknown',
	blockCount: 0,
	currentGeneration: 0,
	lastSecuredGeneration: 0,
	cipher: 'unknown',
	poolLeafCount: 0,
	poolAllocatableCount: 0,
	poolHeldCount: 0,
} as const;

const idleOperation = {phase: 'idle', lastResult: 'none', done: 0, total: 0, bytesPerSecond: 0} as const;

export function blockService(access: DeviceAccess): Handlers<typeof block> {
	return {
		geometry: () => access.known().geometry(),
		// Not `async`: a promise that is handed through one more arrives later.
		read: request => access.pass(device => device.read(request)),
		allocation: async request => access.pass(device => device.allocation(request)),
		write: request =>
			access.pass<{isDurable?: true}>(device =>
				request.durable
					? writeDurably(
							() => device.write(request),
							() => device.sync(),
						)
					: device.write(request),
			),
		clear: async request => access.pass(device => device.clear(request)),
		async sync() {
			// Locking has secured everything; only what a lost trust anchor left behind waits.
			return access.isLocked && access.device?.isDue === false ? {} : access.pass(device => device.sync());
		},
		// Its blocks have room where the pool and the host have some.
		allocate: async () => access.pass(() => ({})),
		grow({blockCount}) {
			if (blockCount > access.known().geometry().blockCount) {
				throw new SessionError('no_space', 'the device grows only by an extension of its container');
			}

			return {};
		},
	};
}

export function controlService(
	access: DeviceAccess,
	anchor: Client<typeof trustAnchor>,
): Handlers<typeof deviceControl> {
	return {
		status: async () =>
			access.device ? {...(await access.device.status()), locked: access.isLocked} : unknownStatus,
		list_snapshots: () => ({
			snapshots: keptSnapshots(access.known().commit.superblock).map(
				({root: {generation}, leafCount, keep, name, time}) => ({
					generation,
					blockCount: leafCount,
					keep,
					...(name !== undefined && {name}),
					...(time !== undefined && {time}),
				}),
			),
		}),
		measure_snapshots: async () => access.pass(async ({sizes}) => ({snapshots: await sizes.get()})),
		create_snapshot: async ({name}) =>
			access.pass(async device => {
				device.requireChangeableMedium();
				return device.snapshots.create(name);
			}),
		discard_snapshot: async ({generation}) =>
			access.pass(async device => {
				device.requireChangeableMedium();
				await device.discardSnapshot(generation);
				return {};
			}),
		revert_snapshot: async ({generation}) =>
			access.pass(async device => {
				device.requireChangeableMedium();
				await device.revertSnapshot(generation);
				return {};
			}),
		extend: async extension =>
			access.pass(async device => {
				device.requireChangeableMedium();
				await device.operations.extend(extension);
				return {};
			}),
		rekey: async () =>
			access.pass(async device => {
				device.requireChangeableMedium();
				await device.operations.rekey();
				return {};
			}),
		check: async () =>
			access.pass(device => {
				device.operations.check();
				return {};
			}),
		operations: () =>
			access.device
				? access.device.operations.status
				: {extend: idleOperation, rekey: idleOperation, check: idleOperation},
		async lock() {
			await access.lock();
			return {};
		},
		recipient: async () => anchor.recipient({}),
		async unlock({sealed}) {
			await access.unlock(sealed);
			return {};
		},
		pause({operation}) {
			access.known().operations.pause(operation);
			return {};
		},
		resume({operation}) {
			access.known().operations.resume(operation);
			return {};
		},
		snapshot_allocation: async ({generation, first, count}) =>
			access.pass(async device => ({runs: await device.snapshotAllocation(generation, {first, count})})),
		read_snapshot: async ({generation, extents, data}) =>
			access.pass(async device => {
				await device.readSnapshot(generation, {extents, data});
				return {};
			}),
	};
}
