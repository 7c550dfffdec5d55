/**
 * A virtual block device of real components over a medium in memory, with nobody who controls it: what superblock
 * control would do, a test does itself.
 */
import {randomBytes} from 'node:crypto';
import blockRam from '../../components/block_ram/component.js';
import cache from '../../components/cache/component.js';
import cryptoOpenssl from '../../components/crypto_openssl/component.js';
import freeTreeComponent from '../../components/free_tree/component.js';
import {sealEnvelope} from '../../components/lib/crypto/key-envelope.js';
import {layOut} from '../../components/lib/format/initialize.js';
import type {Superblock} from '../../components/lib/format/superblock.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {crypto} from '../../components/sessions/crypto.js';
import {freeTree} from '../../components/sessions/free-tree.js';
import type {TreeRoot} from '../../components/sessions/tree-root.js';
import {virtualBlockDevice} from '../../components/sessions/virtual-block-device.js';
import virtualBlockDeviceComponent from '../../components/virtual_block_device/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import {startAssembly} from './assembly.js';

/** A state of the three trees, as a superblock would keep it. */
export interface TreesState {
	readonly tree: TreeRoot;
	readonly freeTree: TreeRoot;
	readonly metaTree: TreeRoot;
}

export interface KeptTree {
	readonly generation: number;
	readonly tree: TreeRoot;
}

/** A kept snapshot of a state. */
export const keptOf = ({tree}: TreesState): KeptTree => ({generation: tree.root.generation, tree});

export interface TreeStandOptions {
	readonly leafCount?: number;
	readonly poolLeafCount?: number;
	readonly emptiesLeaves?: boolean;
}

export const firstKeys = {currentKeyId: 1, previousKeyId: 0, rekeyingVba: 0};

function stateOf({snapshots, degree, freeTree, metaTree}: Superblock): TreesState {
	const {root, leafCount, maxLevel} = snapshots[0]!;
	return {tree: {root, degree, leafCount, maxLevel}, freeTree, metaTree};
}

/** A fresh container that is open in generation 1. */
export async function openTrees({leafCount = 64, poolLeafCount = 256, emptiesLeaves = true}: TreeStandOptions = {}) {
	const assembly = await startAssembly([
		{name: 'medium', component: blockRam, config: {}},
		{name: 'crypto', component: cryptoOpenssl},
		{name: 'cache', component: cache, config: {size: '4M'}, routes: {block: 'medium'}},
		{name: 'free_tree', component: freeTreeComponent, routes: {cache: 'cache'}},
		{
			name: 'vbd',
			component: virtualBlockDeviceComponent,
			routes: {cache: 'cache', block: 'medium', crypto: 'crypto', free_tree: 'free_tree'},
		},
	]);
	const medium = assembly.client('medium', block);
	const cipher = assembly.client('crypto', crypto);
	const pool = assembly.client('free_tree', freeTree);
	const vbd = assembly.client('vbd', virtualBlockDevice);
	const addKey = async (keyId: number) => {
		const {publicKey} = await cipher.recipient({});
		const envelope = sealEnvelope(randomBytes(32), publicKey, randomBytes);
		await cipher.add_key({keyId, cipher: 'aes-256-xts', envelope});
	};
	await medium.grow({blockCount: 2000});
	await addKey(1);
	const superblock = await layOut(
		{
			virtualBlockDevice: {leafCount, maxLevel: 3, degree: 8},
			freeTree: {leafCount: poolLeafCount, maxLevel: 3, degree: 8},
			cipher: 'aes-256-xts',
			containerId: undefined,
			key: {wrapped: new Uint8Array(32), id: 1},
		},
		{
			async write(extents, data) {
				await medium.write({extents, data});
			},
		},
	);
	/** The generation that is written now. */
	let generation = 1;
	const advance = async (snapshots: readonly KeptTree[], lastSecuredGeneration = generation - 1) =>
		pool.advance({
			lastSecuredGeneration,
			snapshotGenerations: snapshots.map(snapshot => snapshot.generation),
			rekeying: null,
			setAsideCount: 0,
		});
	const stand = {
		medium,
		pool,
		vbd,
		addKey,
		advance,
		running: assembly.running('vbd'),
		log: assembly.log,
		bugs: assembly.bugs,
		/** A fresh one of nothing but zeroes. */
		fresh: stateOf(superblock),
		generation: () => generation,
		/** Opens a state as a start would; what was not stored is gone. */
		async open(state: TreesState, {keys = firstKeys, snapshots = [] as readonly KeptTree[]} = {}) {
			const {tree, ...pools} = state;
			await vbd.open({
				tree,
				keys,
				currentGeneration: generation,
				...(emptiesLeaves && {emptiesLeaves}),
			});
			await pool.open({
				...pools,
				horizon: {
					currentGeneration: generation,
					lastSecuredGeneration: generation - 1,
					snapshotGenerations: snapshots.map(snapshot => snapshot.generation),
					rekeying: null,
					setAsideCount: 0,
				},
			});
		},
		/** Stores and secures the current generation; `isRootKept`: it becomes a snapshot. */
		async secure(
			client: Client<typeof virtualBlockDevice>,
			{snapshots = [] as readonly KeptTree[], isRootKept = false} = {},
		) {
			const {
				tree,
				freeTree: free,
				metaTree,
				...more
			} = await client.store({
				nextGeneration: generation + 1,
				isRootKept,
			});
			generation++;
			const state = {tree, freeTree: free, metaTree};
			await advance(isRootKept ? [...snapshots, keptOf(state)] : snapshots);
			return {...more, state};
		},
		stop: async () => assembly.stop(),
	};
	await stand.open(stand.fresh);
	return stand;
}

export const filled = (count: number, value: number) => Buffer.alloc(count * blockSize, value);
