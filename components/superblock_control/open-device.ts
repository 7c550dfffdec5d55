/** The opened container as a device: what requests of its two sessions do, and how it is put to rest and woken. */
import type {Environment} from '../../runtime/sdk/component.js';
import {isSessionError, SessionError, type Handlers} from '../../runtime/sdk/session.js';
import type {ContainerDimensions} from '../container/dimensions-config.js';
import {extentsBlockCount} from '../container/extents.js';
import {newestChanges} from '../container/flush-log.js';
import {Gate} from '../container/gate.js';
import {blockSize} from '../container/geometry.js';
import {Turn} from '../container/turn.js';
import type {block} from '../sessions/block.js';
import type {deviceControl} from '../sessions/device-control.js';
import {DeviceUsage} from './device-usage.js';
import {DeviceWrites} from './device-writes.js';
import {HostRoom} from './host-room.js';
import {addKeys, removeKeys} from '../container/shared-keys.js';
import {finishFlush, openOrCreate, openTrees, replayLog, type OpeningServers} from './opening.js';
import type {OpenedSuperblock} from '../container/open-superblock.js';
import {readNames} from '../container/snapshot-directory.js';
import {clearOldKeys} from './old-keys.js';
import {Operations, type OperationName} from './operations.js';
import {Reclaiming} from './reclaiming.js';
import {readOnlyReason, requireWritable, restrictionOf} from './restrictions.js';
import {Securing} from './securing.js';
import {SnapshotSizes} from './snapshot-sizes.js';
import {Snapshots} from './snapshots.js';
import {currentSnapshotOf, keptSnapshots} from './transition.js';
import {WrittenUsageCount} from './written-usage.js';

function requireFit(extents: readonly number[], data: Uint8Array, blockCount: number): void {
	const total = extentsBlockCount(extents, blockCount);
	if (total === undefined || total * blockSize !== data.length) {
		throw new SessionError('out_of_range', `a request for ${data.length} bytes at ${extents.join('+')} does not fit the device of ${blockCount} blocks`);
	}
}

function requireRange(first: number, count: number, blockCount: number): void {
	if (first + count > blockCount) {
		throw new SessionError('out_of_range', `blocks ${first} to ${first + count - 1} do not fit the device of ${blockCount} blocks`);
	}
}

export interface DeviceConfig {
	readonly create: ContainerDimensions | undefined;
	/** Bytes per second. */
	readonly rekeyingRate: number | undefined;
	/** Blocks that a key of an authenticated cipher seals before a rekeying begins by itself. */
	readonly rekeyAfter: number;
	/** A rekeying whose old key is lost is ended, with what it had sealed given up. */
	readonly givesUpLostBlocks: boolean;
}

const noRoomForLog = 'the host has no room to take over what waits in the flush log; make room there and start again';

const operationNames: readonly OperationName[] = ['extend', 'rekey', 'check'];

type Control = Omit<Handlers<typeof deviceControl>, 'lock' | 'recipient' | 'unlock'>;

export interface OpenDevice {
	readonly block: Handlers<typeof block>;
	readonly control: Control;
	/** True where something is not secured yet. */
	readonly isDue: boolean;
	/** Gives a crypto server that came back its keys again. */
	giveKeys(): Promise<void>;
	/** Halts long operations, secures everything if `secure`, and has the crypto server forget the keys. With no request under way. */
	suspend(options: {readonly secure: boolean}): Promise<void>;
	/** Goes on, once the trust anchor is open again. Dies where the anchor knows another state than this one. */
	resume(): Promise<void>;
	status(): Record<string, number | string>;
}

/** A rekeying that was cut off after its last superblock has left slots that name the old key. */
async function endClearing({block}: OpeningServers, env: Environment, {slot, superblock, isAnnounced, strayedSlot}: OpenedSuperblock): Promise<void> {
	const {writable} = await block.geometry({});
	if (!writable || isAnnounced || strayedSlot !== undefined || superblock.previousKey) {
		return;
	}

	try {
		const count = await clearOldKeys(block, slot, superblock);
		if (count > 0) {
			env.log(`emptied ${count} ${count === 1 ? 'slot' : 'slots'} with a key that a rekeying has replaced`);
		}
	} catch (error) {
		if (!isSessionError(error)) {
			throw error;
		}

		env.log(`superblock slots still name a key that a rekeying has replaced (${error.message}); the next start tries again`, 'warning');
	}
}

/** Opens the container, or creates it where there is none and the configuration says so. @throws StartError */
export async function openDevice(sessions: OpeningServers, env: Environment, config: DeviceConfig): Promise<OpenDevice> {
	const unnamed = await openOrCreate(sessions, env, config.create);
	await addKeys(sessions, unnamed.superblock);
	const {superblock, fault: namesFault} = await readNames(sessions, unnamed.superblock);
	const found = {...unnamed, superblock};
	const {slot, hash} = found;
	/** Why nothing can be written, where that is so. */
	const {writable: isMediumWritable, volatile: isVolatile = false} = await sessions.block.geometry({});
	let readOnly = isMediumWritable ? undefined : 'the medium is read-only';
	const currentGeneration = await openTrees(sessions, superblock);
	await endClearing(sessions, env, found);
	const opened = await finishFlush(sessions, env, found, {writable: readOnly === undefined});
	const {log, ahead} = opened;
	if (ahead.length > 0) {
		readOnly ??= noRoomForLog;
	}

	env.log(`opened generation ${superblock.lastSecuredGeneration} from slot ${slot}`);

	const restriction = restrictionOf(superblock);
	if (restriction !== undefined) {
		env.log(restriction, 'error');
	}

	if (namesFault) {
		env.log(`${namesFault.text}; the snapshots have their numbers, and their content is whole`, 'error');
	}

	const anchoredHash = log.at(-1)?.hash ?? hash;
	let onSecured = (): void => undefined;
	const {key: flushKey} = await sessions.trust_anchor.flush_key({hash: anchoredHash});
	const securing: Securing = new Securing(sessions, {superblock, slot, anchoredHash, currentGeneration, flushKey, strayedSlot: opened.strayedSlot, isLogSettled: opened.isLogSettled}, {
		onInterruption: reason => env.fail(reason),
		onSecured: () => {
			onSecured();
		},
		onWarning: text => {
			env.log(text, 'warning');
		},
		onNoRoom: async attempt => room.make(attempt),
	});
	/** Blocks of the log that hold what was flushed before the device was opened, until it is part of the trees. */
	let pendingLogBlockCount = log.length + ahead.length;
	const room: HostRoom = new HostRoom({
		block: sessions.block,
		device: sessions.virtual_block_device,
		freeTree: sessions.free_tree,
		env,
		superblock: () => securing.superblock,
		usedLogBlockCount: () => Math.max(pendingLogBlockCount, securing.usedLogBlockCount),
	});
	if (readOnly === undefined) {
		const replayed = await replayLog(sessions, securing, opened, room);
		if (replayed === undefined) {
			readOnly = noRoomForLog;
		} else {
			pendingLogBlockCount = 0;
			if (replayed > 0) {
				env.log(`took over ${replayed} ${replayed === 1 ? 'entry' : 'entries'} of the flush log`);
			}
		}
	}

	if (readOnly !== undefined) {
		// What was flushed last stays in the log, and is read from there.
		const waiting = [...log, ...ahead];
		await sessions.virtual_block_device.read_with(newestChanges(waiting));
		env.log(`the device can only be read: ${readOnly}${waiting.length > 0 ? ` (${waiting.length} entries of the flush log are read on top)` : ''}`, 'warning');
	} else {
		await room.keep();
	}

	function requireWritableMedium(): void {
		if (readOnly !== undefined) {
			throw new SessionError('read_only', `the device can only be read: ${readOnly}`);
		}
	}

	/** What changes the container as a whole. */
	function requireChangeableMedium(): void {
		if (readOnly !== undefined) {
			throw new SessionError('refused', `the device can only be read: ${readOnly}; nothing was changed`);
		}
	}

	const blockCount = () => currentSnapshotOf(securing.superblock).leafCount;

	const usage = new DeviceUsage(sessions, securing, env);
	const sizes = new SnapshotSizes(sessions, securing);
	const written = new WrittenUsageCount(sessions.virtual_block_device, securing, env);
	const reclaiming = new Reclaiming(sessions.virtual_block_device, securing, {env, endLeaf: () => room.firstKeptLeaf});
	let isSuspended = false;
	const renewKeyInTime = () => {
		if (!isSuspended && readOnly === undefined) {
			void operations.rekeyAfter(config.rekeyAfter);
		}
	};

	onSecured = () => {
		usage.noteSecured();
		renewKeyInTime();
		reclaiming.noteSecured();
		void room.keep().catch((error: unknown) => {
			env.fail(error instanceof Error ? error.message : String(error));
		});
	};

	const secure = async () => securing.flush();

	/** Before everything stops. */
	async function secureAtRest(): Promise<void> {
		if (readOnly !== undefined) {
			return;
		}

		try {
			await secure();
		} catch (error) {
			if (!(isSessionError(error) && error.code === 'no_space')) {
				throw error;
			}

			await securing.commit();
			env.log(`the host has no room (${error.message}): all that was written is in the flush log, and the next start takes it over`, 'warning');
		}
	}

	const gate = new Gate();
	const turn = new Turn();
	let requestCount = 0;
	const operations = new Operations({
		servers: sessions,
		securing,
		env,
		turn,
		activity: () => requestCount,
		secure,
		makeSpareRoom: async () => void await room.makeForData(),
		rekeyingRate: config.rekeyingRate,
		givesUpLostBlocks: config.givesUpLostBlocks,
	});
	const writes = new DeviceWrites(sessions.virtual_block_device, securing, {
		secure,
		onShortage() {
			usage.noteShortage();
		},
		room,
	});
	const snapshots = new Snapshots({
		securing,
		device: sessions.virtual_block_device,
		gate,
		turn,
		edit: async edit => securing.edit(edit),
		secure,
		medium: sessions.block,
		timeOfDay: () => env.timeOfDay(),
		namesFault: namesFault?.kind === 'unreadable' ? `${namesFault.text}; a new name would have the others forgotten: start again when the medium works` : undefined,
	});
	if (readOnly === undefined) {
		await operations.resumePending();
	}

	/** What was paused when the device was suspended. */
	let paused: OperationName[] = [];
	return {
		block: {
			geometry: () => ({blockCount: blockCount(), writable: (readOnly ?? readOnlyReason(securing.superblock)) === undefined, growable: false, ...isVolatile && {volatile: true}}),
			async read({extents, data}) {
				requestCount++;
				requireFit(extents, data, blockCount());
				await sessions.virtual_block_device.read({extents, data});
				return {};
			},
			async allocation({first, count}) {
				requireRange(first, count, blockCount());
				return sessions.virtual_block_device.allocation({first, count});
			},
			async write({extents, data}) {
				requestCount++;
				requireWritableMedium();
				requireFit(extents, data, blockCount());
				requireWritable(securing.latest);
				if (!gate.tryEnter()) {
					await gate.enter();
				}

				try {
					if (snapshots.isReversionDue) {
						await secure();
					}

					await writes.write(extents, data);
					usage.noteWritten(data.length / blockSize);
				} finally {
					gate.leave();
				}

				return {};
			},
			async clear({extents}) {
				requestCount++;
				requireWritableMedium();
				if (extentsBlockCount(extents, blockCount()) === undefined) {
					throw new SessionError('out_of_range', `the extents ${extents.join('+')} do not fit the device of ${blockCount()} blocks`);
				}

				requireWritable(securing.latest);
				await gate.enter();
				try {
					if (await writes.clear(extents)) {
						reclaiming.noteCleared();
					}
				} finally {
					gate.leave();
				}

				return {};
			},
			async sync() {
				requestCount++;
				if (readOnly !== undefined) {
					return {};
				}

				await securing.commit();
				renewKeyInTime();
				return {};
			},
			// Its blocks have room where the pool and the host have some.
			allocate: () => ({}),
			grow() {
				throw new SessionError('out_of_range', 'the device grows only by an extension of its container');
			},
		},
		control: {
			async status() {
				// A count reads inner blocks, which may need a key.
				const canCount = !isSuspended || securing.superblock.innerBlocks === undefined;
				const [pool, writtenUsage] = canCount ? await Promise.all([usage.pool(), written.get()]) : [usage.last, written.last];
				return {
					locked: false,
					state: securing.superblock.state,
					blockCount: blockCount(),
					currentGeneration: securing.currentGeneration,
					lastSecuredGeneration: securing.superblock.lastSecuredGeneration,
					cipher: securing.superblock.cipher,
					...readOnly !== undefined && {readOnly},
					...writtenUsage,
					poolLeafCount: pool.leafCount,
					poolAllocatableCount: pool.leafCount - pool.heldCount,
					poolHeldCount: pool.heldCount,
					poolSecondsLeft: usage.secondsLeft,
					restriction: restrictionOf(securing.superblock),
				};
			},
			list_snapshots: () => ({
				snapshots: keptSnapshots(securing.superblock).map(({root: {generation}, leafCount, keep, name, time}) => (
					{generation, blockCount: leafCount, keep, ...name !== undefined && {name}, ...time !== undefined && {time}}
				)),
			}),
			measure_snapshots: async () => ({snapshots: await sizes.get()}),
			async create_snapshot({name}) {
				requireChangeableMedium();
				return snapshots.create(name);
			},
			async discard_snapshot({generation}) {
				requireChangeableMedium();
				await snapshots.discard(generation);
				reclaiming.noteSnapshotGone(generation);
				return {};
			},
			async revert_snapshot({generation}) {
				requireChangeableMedium();
				await snapshots.revert(generation);
				// What was there before it is gone.
				reclaiming.noteSnapshotGone(securing.superblock.lastSecuredGeneration);
				env.log(`reverted to snapshot ${generation}`);
				return {};
			},
			async extend(extension) {
				requireChangeableMedium();
				await operations.extend(extension);
				return {};
			},
			async rekey() {
				requireChangeableMedium();
				await operations.rekey();
				return {};
			},
			check() {
				operations.check();
				return {};
			},
			operations: () => operations.status,
			pause({operation}) {
				operations.pause(operation);
				return {};
			},
			resume({operation}) {
				operations.resume(operation);
				return {};
			},
			async snapshot_allocation({generation, first, count}) {
				requireRange(first, count, snapshots.find(generation).leafCount);
				return {runs: await snapshots.allocation(generation, {first, count})};
			},
			async read_snapshot({generation, extents, data}) {
				requireFit(extents, data, snapshots.find(generation).leafCount);
				await snapshots.read(generation, extents, data);
				return {};
			},
		},
		get isDue() {
			return readOnly === undefined && securing.isDue;
		},
		// A key that a rekeying has replaced does not come back, though its end may not be secured yet.
		giveKeys: async () => addKeys(sessions, securing.upcoming),
		async suspend(options) {
			// Where it stopped half-way before, nothing has begun since.
			if (!isSuspended) {
				paused = operationNames.filter(name => operations.status[name].phase === 'paused');
				isSuspended = true;
			}

			// What is just beginning is halted, too.
			await turn.idle();
			await operations.stop();
			if (options.secure) {
				await secureAtRest();
			}

			await reclaiming.stop();
			await room.idle();
			await removeKeys(sessions, securing.latest);
			securing.useFlushKey(undefined);
		},
		async resume() {
			const {secured} = await sessions.trust_anchor.status({});
			if (!secured || !Buffer.from(secured.hash).equals(securing.anchoredHash)) {
				env.fail('the trust anchor remembers another state than the one that was locked; the container is opened anew');
			}

			const {key} = await sessions.trust_anchor.flush_key({hash: securing.anchoredHash});
			securing.useFlushKey(key);
			await addKeys(sessions, securing.upcoming);
			isSuspended = false;
			if (readOnly === undefined) {
				await operations.resumePending();
			}

			for (const name of paused) {
				operations.pause(name);
			}
		},
		status: () => ({generation: securing.superblock.lastSecuredGeneration, securings: securing.securedCount, logged_flushes: securing.loggedCount, ...readOnly !== undefined && {read_only: 'yes'}}),
	};
}
