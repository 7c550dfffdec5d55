/** Opens the container, or creates it where there is none and the configuration says so. */
import {type Environment, StartError} from '../../runtime/sdk/component.js';
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import type {Generation, Pba} from '../sessions/vocabulary.js';
import {createContainer} from '../lib/container/create.js';
import type {ContainerDimensions} from '../lib/format/dimensions-config.js';
import {newestChanges, type LogEntry} from '../lib/format/flush-log.js';
import {extentsOf} from '../lib/format/extents.js';
import {blockSize} from '../lib/format/geometry.js';
import {readSuperblockSearch} from '../lib/container/open-container.js';
import {openSuperblock, type OpenedSuperblock} from '../lib/format/open-superblock.js';
import {ContainerError} from '../lib/format/superblock-search.js';
import {readNames, type NamedSuperblock} from '../lib/container/snapshot-directory.js';
import type {Superblock} from '../lib/format/superblock.js';
import {encodeEmptiedSlot} from '../lib/format/superblock-codec.js';
import type {crypto} from '../sessions/crypto.js';
import type {CryptoKeys} from './crypto-keys.js';
import type {SpaceReservation} from './space-reservation.js';
import {clearOldKeys} from './old-keys.js';
import {checkpointRecovery, flushRecovery, type RecoveryStep} from './recovery-plan.js';
import {restrictionOf} from './restrictions.js';
import type {Commit} from './commit.js';
import type {CommitServers} from './commit-actions.js';
import {currentSnapshotOf, firstGenerationAfter, horizonOf, keysOf, treeOf} from './transition.js';

export interface OpeningServers extends CommitServers {
	readonly crypto: Client<typeof crypto>;
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

/** A container whose trees are open and whose last commit, where it was cut off, is ended. */
export interface OpenedContainer extends OpenedSuperblock {
	/** What the trust anchor keeps. */
	readonly anchoredHash: Uint8Array;
	/** What is written from now on carries it. */
	readonly currentGeneration: Generation;
	/** Why nothing can be written, where the medium says so. */
	readonly readOnly: string | undefined;
	/** The medium forgets everything when it ends. */
	readonly isVolatile: boolean;
	readonly namesFault: NamedSuperblock['fault'];
}

/**
 * Opens the container, or creates it where there is none and the configuration says so; its keys are given. @throws
 * StartError
 */
export async function openContainer(
	servers: OpeningServers,
	env: Environment,
	{create, keys}: {create: DeviceConfig['create']; keys: CryptoKeys},
): Promise<OpenedContainer> {
	const unnamed = await openOrCreate(servers, env, create);
	await keys.give(unnamed.superblock);
	const {superblock, fault: namesFault} = await readNames(servers, unnamed.superblock);
	const found = {...unnamed, superblock};
	const {writable, volatile: isVolatile = false} = await servers.block.geometry({});
	const currentGeneration = await openTrees(servers, superblock);
	await endClearing(servers, env, found, writable);
	const opened = await finishFlush(servers, env, found, {writable});
	env.log(`opened generation ${superblock.lastSecuredGeneration} from slot ${found.slot}`);
	const restriction = restrictionOf(superblock);
	if (restriction !== undefined) {
		env.log(restriction, 'error');
	}

	if (namesFault) {
		env.log(`${namesFault.text}; the snapshots have their numbers, and their content is whole`, 'error');
	}

	return {
		...opened,
		anchoredHash: opened.log.at(-1)?.hash ?? opened.hash,
		currentGeneration,
		readOnly: writable ? undefined : 'the medium is read-only',
		isVolatile,
		namesFault,
	};
}

/** A rekeying that was cut off after its last superblock has left slots that name the old key. */
async function endClearing(
	{block}: OpeningServers,
	env: Environment,
	{slot, superblock, isAnnounced, strayedSlot}: OpenedSuperblock,
	writable: boolean,
): Promise<void> {
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

		env.log(
			`superblock slots still name a key that a rekeying has replaced (${error.message}); the next start tries again`,
			'warning',
		);
	}
}

/** Kinds of failure in which nothing has ever been stored, so that a container may be created. */
const creatableKinds = new Set(['no_container', 'creation_interrupted']);

/** Finds the last secured superblock. @throws StartError with what to do */
export async function openOrCreate(
	servers: OpeningServers,
	env: Environment,
	create: ContainerDimensions | undefined,
): Promise<OpenedSuperblock> {
	const sessions = {block: servers.block, trustAnchor: servers.trust_anchor};
	try {
		const search = await readSuperblockSearch(sessions);
		try {
			return await finishCheckpoint(servers, env, openSuperblock(search));
		} catch (error) {
			const fresh = search.secured === null || search.secured.creating;
			if (!(error instanceof ContainerError && create && fresh && creatableKinds.has(error.kind))) {
				throw error;
			}
		}

		env.log('there is no container yet: creating it');
		const {pbaCount} = await createContainer({...sessions, env, plan: create});
		env.log(
			`container created: ${create.virtualBlockDevice.leafCount} blocks for data, ${create.freeTree.leafCount} spare blocks, ${pbaCount} blocks on the medium, cipher ${create.cipher}${create.innerBlocks ? ', inner blocks encrypted' : ''}`,
		);
		return openSuperblock(await readSuperblockSearch(sessions));
	} catch (error) {
		if (error instanceof ContainerError || isSessionError(error)) {
			throw new StartError(error.message);
		}

		throw error;
	}
}

/**
 * Ends a checkpoint that was cut off at its last step. The superblock is written once more: it may lie in the host's
 * memory alone, and a sync that failed before says no more of it. What it refers to was synced before it was written.
 */
async function finishCheckpoint(
	servers: OpeningServers,
	env: Environment,
	opened: OpenedSuperblock,
): Promise<OpenedSuperblock> {
	const {writable} = await servers.block.geometry({});
	if (!opened.isAnnounced || !writable) {
		return opened;
	}

	await recover(servers, checkpointRecovery(opened));
	env.log(`ended the checkpoint of generation ${opened.superblock.lastSecuredGeneration}, which was cut off`);
	return {...opened, isAnnounced: false};
}

/** Does the steps one after the other. */
async function recover(servers: OpeningServers, steps: readonly RecoveryStep[]): Promise<void> {
	const {block, trust_anchor: anchor} = servers;
	for (const step of steps) {
		switch (step.kind) {
			case 'rewrite': {
				await rewrite(servers, step.addresses);
				break;
			}

			case 'empty_slot': {
				await block.write({extents: [step.slot, 1], data: encodeEmptiedSlot()});
				break;
			}

			case 'sync': {
				await block.sync({});
				break;
			}

			case 'anchor': {
				await anchor.secure({hash: step.hash, generation: step.generation, creating: false});
				break;
			}
		}
	}
}

/** Has the tree servers start over from a secured superblock; replies with the generation that counts from now on. */
async function openTrees(servers: OpeningServers, superblock: Superblock): Promise<number> {
	const currentGeneration = firstGenerationAfter(superblock);
	const form = superblock.innerBlocks && {innerBlocks: superblock.innerBlocks};
	// The device first: what an earlier life of this component has left under way there uses the pool.
	await servers.virtual_block_device.open({
		...form,
		tree: treeOf(superblock, currentSnapshotOf(superblock)),
		keys: keysOf(superblock),
		currentGeneration,
		...(superblock.features?.includes('emptied_leaves') && {emptiesLeaves: true}),
	});
	await servers.free_tree.open({
		...form,
		freeTree: superblock.freeTree,
		metaTree: superblock.metaTree,
		horizon: {currentGeneration, ...horizonOf(superblock)},
	});
	return currentGeneration;
}

/** Blocks that are read or written together. */
const batchBlockCount = 256;

function* batchesOf(numbers: readonly number[]): Generator<number[]> {
	for (let begin = 0; begin < numbers.length; begin += batchBlockCount) {
		yield numbers.slice(begin, begin + batchBlockCount);
	}
}

const singles = (addresses: readonly number[]): number[] => addresses.flatMap(address => [address, 1]);

/**
 * True where the data that a flush names are all there, as their labels say. The trees must be open, and stay as they
 * are.
 */
async function hasArrived(
	{virtual_block_device: device}: OpeningServers,
	log: readonly LogEntry[],
	flush: readonly LogEntry[],
): Promise<boolean> {
	const data = Buffer.alloc(batchBlockCount * blockSize);
	await device.read_with(newestChanges([...log, ...flush]));
	try {
		for (const vbas of batchesOf(newestChanges(flush).vbas)) {
			await device.read({extents: singles(vbas), data: data.subarray(0, vbas.length * blockSize)});
		}

		return true;
	} catch (error) {
		// Data that were on their way when it was cut off are no damage.
		if (isSessionError(error) && error.code === 'integrity') {
			return false;
		}

		throw error;
	} finally {
		data.fill(0);
		await device.read_with(newestChanges([]));
	}
}

/** Writes what lies there once more, as it may lie in the host's memory alone. */
async function rewrite({block}: OpeningServers, addresses: readonly Pba[]): Promise<void> {
	const data = Buffer.alloc(Math.min(batchBlockCount, addresses.length) * blockSize);
	for (const batch of batchesOf(addresses)) {
		const part = data.subarray(0, batch.length * blockSize);
		await block.read({extents: extentsOf(batch), data: part});
		await block.write({extents: extentsOf(batch), data: part});
	}
}

/**
 * Ends a flush that was cut off before the trust anchor knew of it, or that an older anchor does not know: it is
 * written once more and anchored, and belongs to the log from then on. One of which not all is there is passed over.
 * Where nothing can be written, it stays ahead: whoever only reads has to read what the next start takes over. The
 * trees must be open.
 * @throws StartError
 */
async function finishFlush(
	servers: OpeningServers,
	env: Environment,
	opened: OpenedSuperblock,
	{writable}: {writable: boolean},
): Promise<OpenedSuperblock> {
	const {superblock, log, ahead} = opened;
	const generation = firstGenerationAfter(superblock);
	try {
		if (
			!superblock.flushLog ||
			ahead.length === 0 ||
			ahead.some(entry => entry.generation !== generation) ||
			!(await hasArrived(servers, log, ahead))
		) {
			return {...opened, ahead: []};
		}

		if (!writable) {
			return opened;
		}

		await recover(servers, flushRecovery(opened, superblock.flushLog));
	} catch (error) {
		if (!isSessionError(error)) {
			throw error;
		}

		if (error.code === 'no_space') {
			return opened;
		}

		if (!writable) {
			// Damage of the medium keeps nobody from reading what is left.
			return {...opened, ahead: []};
		}

		throw new StartError(
			`a flush that was cut off could not be taken over: ${error.message}; nothing is lost: start again when the medium works`,
		);
	}

	env.log('ended a flush that was cut off');
	return {...opened, log: [...log, ...ahead], ahead: [], strayedSlot: undefined};
}

/**
 * Makes what the flush log says part of the trees, and secures them. Replies with the number of entries, undefined
 * where the host has no room for that: then nothing has happened, and the trees are open without the log. @throws
 * StartError
 */
export async function replayLog(
	servers: OpeningServers,
	commit: Commit,
	{log}: OpenedSuperblock,
	room: SpaceReservation,
): Promise<number | undefined> {
	return log.length === 0 || (await replayAnchored(servers, commit, log, room)) ? log.length : undefined;
}

/** False where the host has no room; then the trees are open without the log. @throws StartError */
async function replayAnchored(
	servers: OpeningServers,
	commit: Commit,
	log: readonly LogEntry[],
	room: SpaceReservation,
): Promise<boolean> {
	const stray = log.find(({generation}) => generation !== commit.currentGeneration);
	if (stray) {
		throw new StartError(
			`the flush log holds changes of generation ${stray.generation} where ${commit.currentGeneration} has to follow; put back an undamaged copy of the image's newest state`,
		);
	}

	const flushed = new Set(log.flatMap(({changes}) => changes.addresses));
	for (let attempt = 0; ; attempt++) {
		try {
			await servers.virtual_block_device.replay(newestChanges(log));
			await commit.checkpointAnew();
			return true;
		} catch (error) {
			if (!isSessionError(error)) {
				throw error;
			}

			if (error.code !== 'no_space') {
				throw new StartError(
					error.code === 'integrity'
						? `the flush log cannot be taken over: ${error.message}; put back an undamaged copy of the image, or give up what was flushed last (${log.length} entries of the log) with cbe_adopt`
						: `what waits in the flush log (${log.length} entries) could not be taken over: ${error.message}; nothing is lost: start again when the medium works`,
				);
			}

			await openTrees(servers, commit.superblock);
			if (!(await room.makeForReplay(attempt, flushed))) {
				return false;
			}
		}
	}
}
