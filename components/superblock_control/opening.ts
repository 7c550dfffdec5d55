/** Opens the container, or creates it where there is none and the configuration says so. */
import type {Environment} from '../../runtime/sdk/component.js';
import {StartError} from '../../runtime/sdk/component.js';
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import {createContainer} from '../container/create.js';
import type {ContainerDimensions} from '../container/dimensions-config.js';
import {newestChanges, type LogEntry} from '../container/flush-log.js';
import {readSuperblockSearch} from '../container/open-container.js';
import {ContainerError, openSuperblock, type OpenedSuperblock} from '../container/open-superblock.js';
import type {Superblock} from '../container/superblock.js';
import type {crypto} from '../sessions/crypto.js';
import type {Securing, SecuringServers} from './securing.js';
import {currentSnapshotOf, firstGenerationAfter, horizonOf, treeOf} from './transition.js';

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
			return openSuperblock(search);
		} catch (error) {
			const fresh = search.secured === null || search.secured.creating;
			if (!(error instanceof ContainerError && create && fresh && creatableKinds.has(error.kind))) {
				throw error;
			}
		}

		env.log('there is no container yet: creating it');
		const {pbaCount} = await createContainer({...sessions, crypto: servers.crypto, env, plan: create});
		env.log(`container created: ${create.virtualBlockDevice.leafCount} blocks for data, ${create.freeTree.leafCount} spare blocks, ${pbaCount} blocks on the medium, cipher ${create.cipher}${create.innerBlocks ? ', inner blocks encrypted' : ''}`);
		return openSuperblock(await readSuperblockSearch(sessions));
	} catch (error) {
		if (error instanceof ContainerError || isSessionError(error)) {
			throw new StartError(error.message);
		}

		throw error;
	}
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
		keys: {currentKeyId: superblock.currentKey.id, previousKeyId: superblock.previousKey?.id ?? 0, rekeyingVba: superblock.rekeyingVba},
		currentGeneration,
	});
	return currentGeneration;
}

/** Makes what the flush log says part of the trees, and secures them. @throws StartError */
export async function replayLog(servers: OpeningServers, securing: Securing, log: readonly LogEntry[]): Promise<void> {
	const stray = log.find(({generation}) => generation !== securing.currentGeneration);
	if (stray) {
		throw new StartError(`the flush log holds changes of generation ${stray.generation} where ${securing.currentGeneration} has to follow; put back an undamaged copy of the image's newest state`);
	}

	try {
		await servers.virtual_block_device.replay(newestChanges(log));
		await securing.renew();
	} catch (error) {
		throw isSessionError(error) ? new StartError(`the flush log cannot be taken over: ${error.message}; put back an undamaged copy of the image, or give up what was flushed last (${log.length} entries of the log) with cbe_adopt`) : error;
	}
}
