/**
 * The opened container as a device: what works on it together, what its requests do, and how it is put to rest and
 * woken.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import {isSessionError, SessionError} from '../../runtime/sdk/session.js';
import {requireBlocks, requireExtents} from '../lib/format/extents.js';
import {newestChanges} from '../lib/format/flush-log.js';
import {ReadWriteLock} from '../lib/sync/read-write-lock.js';
import {blockSize} from '../lib/format/geometry.js';
import {lockWatch} from '../lib/sync/lock-order.js';
import {Mutex} from '../lib/sync/mutex.js';
import type {Generation, Vba} from '../sessions/vocabulary.js';
import {Commit} from './commit.js';
import type {CryptoKeys} from './crypto-keys.js';
import {DeviceUsage} from './device-usage.js';
import {DeviceWrites} from './device-writes.js';
import {SpaceReservation} from './space-reservation.js';
import {openContainer, replayLog, type DeviceConfig, type OpenedContainer, type OpeningServers} from './opening.js';
import {Operations, type OperationName} from './operations.js';
import {Reclaimer} from './reclaimer.js';
import {readOnlyReason, requireWritable, restrictionOf} from './restrictions.js';
import {SnapshotSizes} from './snapshot-sizes.js';
import {Snapshots} from './snapshot-operations.js';
import {currentSnapshotOf} from './transition.js';
import {WrittenUsageCount} from './written-usage.js';

const noRoomForLog = 'the host has no room to take over what waits in the flush log; make room there and start again';

const operationNames: readonly OperationName[] = ['extend', 'rekey', 'check'];

/** As messages name it. */
const owner = 'the device';

interface Range {
	readonly first: Vba;
	readonly count: number;
}

interface Transfer {
	readonly extents: number[];
	readonly data: Uint8Array;
}

export interface DeviceParts {
	readonly servers: OpeningServers;
	readonly env: Environment;
	readonly config: DeviceConfig;
	/** Whoever locks the device takes them away. */
	readonly keys: CryptoKeys;
}

/** Opens the container, or creates it where there is none and the configuration says so. @throws StartError */
export async function openDevice({servers, env, config, keys}: DeviceParts): Promise<OpenDevice> {
	const container = await openContainer(servers, env, {create: config.create, keys});
	const {key: flushKey} = await servers.trust_anchor.flush_key({hash: container.anchoredHash});
	const device = new OpenDevice({servers, env, config, keys}, container, flushKey);
	await device.begin(container);
	return device;
}

export class OpenDevice {
	readonly commit: Commit;
	readonly snapshots: Snapshots;
	readonly operations: Operations;
	readonly sizes: SnapshotSizes;
	readonly #servers: OpeningServers;
	readonly #env: Environment;
	readonly #config: DeviceConfig;
	readonly #keys: CryptoKeys;
	readonly #room: SpaceReservation;
	readonly #usage: DeviceUsage;
	readonly #written: WrittenUsageCount;
	readonly #reclaimer: Reclaimer;
	readonly #writes: DeviceWrites;
	/** Writers pass it together; reverting closes it. */
	readonly #contentLock = new ReadWriteLock('content');
	/** Held by everything that changes the container as a whole. */
	readonly #containerMutex = new Mutex('container');
	/** Why nothing can be written, where that is so. */
	#readOnly: string | undefined;
	/** Blocks of the log that hold what was flushed before the device was opened, until it is part of the trees. */
	#pendingLogBlockCount: number;
	readonly #isVolatile: boolean;
	#requestCount = 0;
	/** From now on a checkpoint has others go on. */
	#isServing = false;
	#isSuspended = false;
	/** What was paused when the device was suspended. */
	#paused: OperationName[] = [];

	constructor({servers, env, config, keys}: DeviceParts, container: OpenedContainer, flushKey: Uint8Array) {
		this.#servers = servers;
		this.#env = env;
		this.#config = config;
		this.#keys = keys;
		this.#readOnly = container.readOnly ?? (container.ahead.length > 0 ? noRoomForLog : undefined);
		this.#isVolatile = container.isVolatile;
		this.#pendingLogBlockCount = container.log.length + container.ahead.length;
		const {virtual_block_device: device, free_tree: freeTree, block} = servers;
		const commit = new Commit(
			servers,
			{...container, flushKey},
			{
				onInterruption: reason => env.fail(reason),
				onCheckpoint: () => {
					this.#noteCheckpoint();
				},
				onWarning: text => {
					env.log(text, 'warning');
				},
				onNoRoom: async attempt => this.#room.make(attempt),
			},
		);
		this.commit = commit;
		this.#room = new SpaceReservation({
			block,
			device,
			freeTree,
			env,
			superblock: () => commit.superblock,
			usedLogBlockCount: () => Math.max(this.#pendingLogBlockCount, commit.usedLogBlockCount),
		});
		this.#usage = new DeviceUsage(servers, commit, env);
		this.sizes = new SnapshotSizes(servers, commit);
		this.#written = new WrittenUsageCount(device, commit, env);
		this.#reclaimer = new Reclaimer(device, commit, {env, endLeaf: () => this.#room.firstKeptLeaf});
		this.operations = new Operations({
			servers,
			commit,
			keys,
			env,
			containerMutex: this.#containerMutex,
			activity: () => this.#requestCount,
			secure: async () => commit.checkpoint(),
			makeRoomForData: async () => void (await this.#room.makeForData()),
			rekeyingRate: config.rekeyingRate,
			givesUpLostBlocks: config.givesUpLostBlocks,
		});
		this.#writes = new DeviceWrites(device, commit, {
			secure: async () => commit.checkpoint(),
			onShortage: () => {
				this.#usage.noteShortage();
			},
			room: this.#room,
		});
		const {namesFault} = container;
		this.snapshots = new Snapshots({
			commit,
			device,
			contentLock: this.#contentLock,
			containerMutex: this.#containerMutex,
			medium: block,
			timeOfDay: () => env.timeOfDay(),
			namesFault:
				namesFault?.kind === 'unreadable'
					? `${namesFault.text}; a new name would have the others forgotten: start again when the medium works`
					: undefined,
		});
	}

	get blockCount(): number {
		return currentSnapshotOf(this.commit.superblock).leafCount;
	}

	/** True where something is not secured yet. */
	get isDue(): boolean {
		return this.#readOnly === undefined && this.commit.isDue;
	}

	/**
	 * Makes what waits in the flush log part of the trees, or has it read from there, and goes on with what was going
	 * on. @throws StartError
	 */
	async begin(container: OpenedContainer): Promise<void> {
		if (this.#readOnly === undefined) {
			await this.#takeOverLog(container);
		}

		if (this.#readOnly === undefined) {
			await this.#room.keep();
		} else {
			await this.#readOnTop(container, this.#readOnly);
		}

		this.#isServing = true;
		if (this.#readOnly === undefined) {
			await this.operations.resumePending();
		}
	}

	async #takeOverLog(container: OpenedContainer): Promise<void> {
		const replayed = await replayLog(this.#servers, this.commit, container, this.#room);
		if (replayed === undefined) {
			this.#readOnly = noRoomForLog;
			return;
		}

		this.#pendingLogBlockCount = 0;
		if (replayed > 0) {
			this.#env.log(`took over ${replayed} ${replayed === 1 ? 'entry' : 'entries'} of the flush log`);
		}
	}

	/** What was flushed last stays in the log, and is read from there. */
	async #readOnTop({log, ahead}: OpenedContainer, reason: string): Promise<void> {
		const waiting = [...log, ...ahead];
		await this.#servers.virtual_block_device.read_with(newestChanges(waiting));
		this.#env.log(
			`the device can only be read: ${reason}${waiting.length > 0 ? ` (${waiting.length} entries of the flush log are read on top)` : ''}`,
			'warning',
		);
	}

	#noteCheckpoint(): void {
		if (!this.#isServing) {
			return;
		}

		// Nobody waits for the watch, so a lock would overtake it.
		if (this.#canCount) {
			this.#usage.noteSecured();
		}

		this.#renewKeyInTime();
		this.#reclaimer.noteSecured();
		void this.#room.keep().catch((error: unknown) => {
			this.#env.fail(error instanceof Error ? error.message : String(error));
		});
	}

	#renewKeyInTime(): void {
		if (!this.#isSuspended && this.#readOnly === undefined) {
			void this.operations.rekeyAfter(this.#config.rekeyAfter);
		}
	}

	/** @throws SessionError `read_only` */
	#requireWritableMedium(): void {
		if (this.#readOnly !== undefined) {
			throw new SessionError('read_only', `the device can only be read: ${this.#readOnly}`);
		}
	}

	/** Before the container as a whole is changed. @throws SessionError `refused` */
	requireChangeableMedium(): void {
		if (this.#readOnly !== undefined) {
			throw new SessionError('refused', `the device can only be read: ${this.#readOnly}; nothing was changed`);
		}
	}

	geometry() {
		return {
			blockCount: this.blockCount,
			writable: (this.#readOnly ?? readOnlyReason(this.commit.superblock)) === undefined,
			growable: false,
			...(this.#isVolatile && {volatile: true}),
		};
	}

	async read({extents, data}: Transfer): Promise<Record<string, never>> {
		this.#requestCount++;
		requireExtents(extents, this.blockCount, owner);
		await this.#servers.virtual_block_device.read({extents, data});
		return {};
	}

	async allocation({first, count}: Range) {
		requireBlocks(first, count, this.blockCount, owner);
		return this.#servers.virtual_block_device.allocation({first, count});
	}

	async write({extents, data}: Transfer): Promise<Record<string, never>> {
		this.#requestCount++;
		this.#requireWritableMedium();
		requireExtents(extents, this.blockCount, owner);
		requireWritable(this.commit.latest);
		if (!this.#contentLock.tryLockShared()) {
			await this.#contentLock.lockShared();
		}

		try {
			if (this.snapshots.isReversionDue) {
				await this.commit.checkpoint();
			}

			await (lockWatch
				? lockWatch.holding('content', async () => this.#writes.write(extents, data))
				: this.#writes.write(extents, data));
			this.#usage.noteWritten(data.length / blockSize);
		} finally {
			this.#contentLock.unlockShared();
		}

		return {};
	}

	async clear({extents}: {readonly extents: number[]}): Promise<Record<string, never>> {
		this.#requestCount++;
		this.#requireWritableMedium();
		requireExtents(extents, this.blockCount, owner);
		requireWritable(this.commit.latest);
		await this.#contentLock.lockShared();
		try {
			const cleared = lockWatch
				? lockWatch.holding('content', async () => this.#writes.clear(extents))
				: this.#writes.clear(extents);
			if (await cleared) {
				this.#reclaimer.noteCleared();
			}
		} finally {
			this.#contentLock.unlockShared();
		}

		return {};
	}

	async sync(): Promise<Record<string, never>> {
		this.#requestCount++;
		if (this.#readOnly !== undefined) {
			return {};
		}

		await this.commit.flush();
		this.#renewKeyInTime();
		return {};
	}

	async status() {
		const [pool, writtenUsage] = await this.#counts();
		const {superblock, currentGeneration} = this.commit;
		return {
			state: superblock.state,
			blockCount: this.blockCount,
			currentGeneration,
			lastSecuredGeneration: superblock.lastSecuredGeneration,
			cipher: superblock.cipher,
			...(this.#readOnly !== undefined && {readOnly: this.#readOnly}),
			...writtenUsage,
			poolLeafCount: pool.leafCount,
			poolAllocatableCount: pool.leafCount - pool.heldCount,
			poolHeldCount: pool.heldCount,
			poolSecondsLeft: this.#usage.secondsLeft,
			restriction: restrictionOf(superblock),
		};
	}

	/**
	 * Counts read inner blocks, which may need a key: without one the last counts have to do, also where a lock has
	 * overtaken new ones.
	 */
	async #counts() {
		if (this.#canCount) {
			try {
				return await Promise.all([this.#usage.pool(), this.#written.get()]);
			} catch (error) {
				if (this.#canCount) {
					throw error;
				}
			}
		}

		return [this.#usage.last, this.#written.last] as const;
	}

	get #canCount(): boolean {
		return !this.#isSuspended || this.commit.superblock.innerBlocks === undefined;
	}

	async discardSnapshot(generation: Generation): Promise<void> {
		await this.snapshots.discard(generation);
		this.#reclaimer.noteSnapshotGone(generation);
	}

	async revertSnapshot(generation: Generation): Promise<void> {
		await this.snapshots.revert(generation);
		// What was there before it is gone.
		this.#reclaimer.noteSnapshotGone(this.commit.superblock.lastSecuredGeneration);
		this.#env.log(`reverted to snapshot ${generation}`);
	}

	async snapshotAllocation(generation: Generation, range: Range): Promise<number[]> {
		requireBlocks(range.first, range.count, this.snapshots.find(generation).leafCount, owner);
		return this.snapshots.allocation(generation, range);
	}

	async readSnapshot(generation: Generation, {extents, data}: Transfer): Promise<void> {
		requireExtents(extents, this.snapshots.find(generation).leafCount, owner);
		await this.snapshots.read(generation, extents, data);
	}

	/**
	 * Halts long operations, and secures everything if `secure`: from then on nothing needs a key. With no request
	 * under way.
	 */
	async suspend({secure}: {readonly secure: boolean}): Promise<void> {
		// Where it stopped half-way before, nothing has begun since.
		if (!this.#isSuspended) {
			this.#paused = operationNames.filter(name => this.operations.status[name].phase === 'paused');
			this.#isSuspended = true;
		}

		// What is just beginning is halted, too.
		await this.#containerMutex.idle();
		await this.operations.stop();
		if (secure) {
			await this.#secureAtRest();
		}

		await this.#reclaimer.stop();
		await this.#room.idle();
		this.commit.useFlushKey(undefined);
	}

	/** Before everything stops. */
	async #secureAtRest(): Promise<void> {
		if (this.#readOnly !== undefined) {
			return;
		}

		try {
			await this.commit.checkpoint();
		} catch (error) {
			if (!(isSessionError(error) && error.code === 'no_space')) {
				throw error;
			}

			await this.commit.flush();
			this.#env.log(
				`the host has no room (${error.message}): all that was written is in the flush log, and the next start takes it over`,
				'warning',
			);
		}
	}

	/**
	 * Goes on, once the trust anchor is open again: gives the keys, but for one that a rekeying has replaced, though
	 * its end may not be secured yet. Dies where the anchor knows another state than this one. @throws SessionError
	 */
	async resume(): Promise<void> {
		const {trust_anchor: anchor} = this.#servers;
		const {secured} = await anchor.status({});
		if (!secured || !Buffer.from(secured.hash).equals(this.commit.anchoredHash)) {
			this.#env.fail(
				'the trust anchor remembers another state than the one that was locked; the container is opened anew',
			);
		}

		const {key} = await anchor.flush_key({hash: this.commit.anchoredHash});
		this.commit.useFlushKey(key);
		await this.#keys.give(this.commit.upcoming);
		this.#isSuspended = false;
		if (this.#readOnly === undefined) {
			await this.operations.resumePending();
		}

		for (const name of this.#paused) {
			this.operations.pause(name);
		}
	}

	/** What the runtime tells of it. */
	report(): Record<string, number | string> {
		const {superblock, checkpointCount, flushCount} = this.commit;
		return {
			generation: superblock.lastSecuredGeneration,
			checkpoints: checkpointCount,
			logged_flushes: flushCount,
			...(this.#readOnly !== undefined && {read_only: 'yes'}),
		};
	}
}
