/** Opens the container, or creates it where there is none and the configuration says so. */
import type {Environment} from '../../runtime/sdk/component.js';
import {StartError} from '../../runtime/sdk/component.js';
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import type {Pba, Vba} from '../container/addresses.js';
import {createContainer} from '../container/create.js';
import type {ContainerDimensions} from '../container/dimensions-config.js';
import {newestChanges, type LeafChanges, type LogEntry} from '../container/flush-log.js';
import {blockSize} from '../container/geometry.js';
import {readSuperblockSearch} from '../container/open-container.js';
import {ContainerError, openSuperblock, type OpenedSuperblock} from '../container/open-superblock.js';
import type {Superblock} from '../container/superblock.js';
import type {crypto} from '../sessions/crypto.js';
import type {HostRoom} from './host-room.js';
import type {Securing, SecuringServers} from './securing.js';
import {currentSnapshotOf, firstGenerationAfter, horizonOf, keysOf, treeOf} from './transition.js';

export interface OpeningServers extends SecuringServers {
	readonly crypto: Client<typeof crypto>;
}

/** Kinds of failure in which nothing has ever been stored, so that a container may be created. */
const creatableKinds = new Set(['no_container', 'creation_interrupted']);

/** Finds the last secured superblock. @throws StartError with what to do */
export async function openOrCreate(servers: OpeningServers, env: Environment, create: ContainerDimensions | undefined): Promise<OpenedSuperblock> {
	const sessions = {block: servers.block, trustAnchor: servers.trust_anchor};
	try {
		const search = await readSuperblockSearch(sessions);
		try {
			return await finishSecuring(servers, env, openSuperblock(search), search.slots);
		} catch (error) {
			const fresh = search.secured === null || search.secured.creating;
			if (!(error instanceof ContainerError && create && fresh && creatableKinds.has(error.kind))) {
				throw error;
			}
		}

		env.log('there is no container yet: creating it');
		const {pbaCount} = await createContainer({...sessions, env, plan: create});
		env.log(`container created: ${create.virtualBlockDevice.leafCount} blocks for data, ${create.freeTree.leafCount} spare blocks, ${pbaCount} blocks on the medium, cipher ${create.cipher}${create.innerBlocks ? ', inner blocks encrypted' : ''}`);
		return openSuperblock(await readSuperblockSearch(sessions));
	} catch (error) {
		if (error instanceof ContainerError || isSessionError(error)) {
			throw new StartError(error.message);
		}

		throw error;
	}
}

/**
 * Ends a securing that was cut off at its last step. The superblock is written once more: it may lie in the host's memory alone,
 * and a sync that failed before says no more of it. What it refers to was synced before it was written.
 */
async function finishSecuring({block, trust_anchor: anchor}: OpeningServers, env: Environment, opened: OpenedSuperblock, slots: readonly Uint8Array[]): Promise<OpenedSuperblock> {
	const {writable} = await block.geometry({});
	if (!opened.isAnnounced || !writable) {
		return opened;
	}

	const {slot, hash, superblock: {lastSecuredGeneration: generation}} = opened;
	await block.write({extents: [slot, 1], data: slots[slot]});
	await block.sync({});
	await anchor.secure({hash, generation, creating: false});
	env.log(`ended the securing of generation ${generation}, which was cut off`);
	return {...opened, isAnnounced: false};
}

/** Has the tree servers start over from a secured superblock; replies with the generation that counts from now on. */
export async function openTrees(servers: OpeningServers, superblock: Superblock): Promise<number> {
	const currentGeneration = firstGenerationAfter(superblock);
	const form = superblock.innerBlocks && {innerBlocks: superblock.innerBlocks};
	await servers.free_tree.open({
		...form,
		freeTree: superblock.freeTree,
		metaTree: superblock.metaTree,
		horizon: {currentGeneration, ...horizonOf(superblock)},
	});
	await servers.virtual_block_device.open({
		...form,
		tree: treeOf(superblock, currentSnapshotOf(superblock)),
		keys: keysOf(superblock),
		currentGeneration,
		...superblock.features?.includes('emptied_leaves') && {emptiesLeaves: true},
	});
	return currentGeneration;
}

/** Blocks that are read or written together. */
const batchBlockCount = 256;

function* batchesOf({vbas, addresses}: LeafChanges): Generator<{vbas: Vba[]; addresses: Pba[]}> {
	for (let begin = 0; begin < vbas.length; begin += batchBlockCount) {
		yield {vbas: vbas.slice(begin, begin + batchBlockCount), addresses: addresses.slice(begin, begin + batchBlockCount)};
	}
}

const singles = (addresses: readonly number[]): number[] => addresses.flatMap(address => [address, 1]);

/**
 * Takes over a flush that was cut off before the trust anchor knew of it, or that an older anchor does not know: makes it part of
 * the trees after the log before it. Its data are written once more, as they may lie in the host's memory alone. False where
 * not all of them are there; the trees have to be opened anew then.
 */
async function takeFlush(servers: OpeningServers, log: readonly LogEntry[], flush: readonly LogEntry[]): Promise<boolean> {
	const {block, virtual_block_device: device} = servers;
	const data = Buffer.alloc(batchBlockCount * blockSize);
	try {
		for (const {addresses} of batchesOf(newestChanges(flush))) {
			const part = data.subarray(0, addresses.length * blockSize);
			await block.read({extents: singles(addresses), data: part});
			await block.write({extents: singles(addresses), data: part});
		}

		await device.replay(newestChanges([...log, ...flush]));
		for (const {vbas} of batchesOf(newestChanges(flush))) {
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
	}
}

/**
 * Makes what the flush log says part of the trees, and secures them. Replies with the number of entries, undefined where the host
 * has no room for that: then nothing has happened, and the trees are open without the log. @throws StartError
 */
export async function replayLog(servers: OpeningServers, securing: Securing, {superblock, log, ahead}: OpenedSuperblock, room: HostRoom): Promise<number | undefined> {
	if (ahead.length > 0 && ahead.every(({generation}) => generation === securing.currentGeneration)) {
		try {
			if (await takeFlush(servers, log, ahead)) {
				await securing.renew();
				return log.length + ahead.length;
			}
		} catch (error) {
			if (!isSessionError(error)) {
				throw error;
			}

			if (error.code !== 'no_space') {
				throw new StartError(`a flush that was cut off could not be taken over: ${error.message}; nothing is lost: start again when the medium works`);
			}

			await openTrees(servers, superblock);
			return undefined;
		}

		await openTrees(servers, superblock);
	}

	return log.length === 0 || await replayAnchored(servers, securing, log, room) ? log.length : undefined;
}

/** False where the host has no room; then the trees are open without the log. @throws StartError */
async function replayAnchored(servers: OpeningServers, securing: Securing, log: readonly LogEntry[], room: HostRoom): Promise<boolean> {
	const stray = log.find(({generation}) => generation !== securing.currentGeneration);
	if (stray) {
		throw new StartError(`the flush log holds changes of generation ${stray.generation} where ${securing.currentGeneration} has to follow; put back an undamaged copy of the image's newest state`);
	}

	const flushed = new Set(log.flatMap(({changes}) => changes.addresses));
	for (let attempt = 0; ; attempt++) {
		try {
			await servers.virtual_block_device.replay(newestChanges(log));
			await securing.renew();
			return true;
		} catch (error) {
			if (!isSessionError(error)) {
				throw error;
			}

			if (error.code !== 'no_space') {
				throw new StartError(error.code === 'integrity'
					? `the flush log cannot be taken over: ${error.message}; put back an undamaged copy of the image, or give up what was flushed last (${log.length} entries of the log) with cbe_adopt`
					: `what waits in the flush log (${log.length} entries) could not be taken over: ${error.message}; nothing is lost: start again when the medium works`);
			}

			await openTrees(servers, securing.superblock);
			if (!await room.makeForReplay(attempt, flushed)) {
				return false;
			}
		}
	}
}
