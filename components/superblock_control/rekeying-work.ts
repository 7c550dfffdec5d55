/** Rekeying of the device and all its snapshots (format section 7). */
import {blockSize} from '../container/geometry.js';
import {currentSnapshotOf, keptSnapshots, treeOf} from './transition.js';
import type {Work} from './background-operation.js';
import {addKey} from '../container/shared-keys.js';
import type {OpeningServers} from './opening.js';
import type {Securing} from './securing.js';

/** Blocks of each tree that one step goes through: 1 MiB. A running step keeps writes to its range waiting. */
const blocksAtOnce = 256;

/** Makes a new key the current one and the current key the previous one, durably. Nothing is sealed with it yet. */
export async function beginRekeying(servers: OpeningServers, securing: Securing): Promise<void> {
	const {wrapped} = await servers.trust_anchor.create_key({current: securing.superblock.currentKey.wrapped});
	const id = securing.superblock.currentKey.id + 1;
	await addKey(servers, securing.superblock, {wrapped, id});
	await securing.edit(superblock => {
		securing.keyUse.rotate();
		return {...superblock, state: 'rekeying', rekeyingVba: 0, previousKey: superblock.currentKey, currentKey: {wrapped, id}};
	});
	// Until now every block was written with the key that is now the previous one: what it is for every VBA.
	await servers.virtual_block_device.set_keys(keysOf(securing));
}

function keysOf({superblock: {currentKey, previousKey, rekeyingVba}}: Securing) {
	return {currentKeyId: currentKey.id, previousKeyId: previousKey?.id ?? 0, rekeyingVba};
}

/** What is left of the rekeying that a superblock describes. */
export class RekeyingWork implements Work {
	readonly unitBytes = blockSize;
	readonly secureIntervalMs = 1000;
	readonly #servers: OpeningServers;
	readonly #securing: Securing;
	#rekeyingVba: number;
	/** Halved where the pool has not enough to hand out, doubled again with every step that succeeds. */
	#blockCount = blocksAtOnce;
	/** The pool entry from which on the sweep goes on; undefined before it, null after it. */
	#sweptFrom: number | null | undefined;

	constructor(servers: OpeningServers, securing: Securing) {
		this.#servers = servers;
		this.#securing = securing;
		this.#rekeyingVba = securing.superblock.rekeyingVba;
	}

	get total(): number {
		const {latest} = this.#securing;
		return Math.max(currentSnapshotOf(latest).leafCount, ...keptSnapshots(latest).map(({leafCount}) => leafCount));
	}

	get done(): number {
		return this.#rekeyingVba;
	}

	/** Leaf after leaf, and then the pool gives up what the rekeying has replaced. */
	async step(): Promise<boolean> {
		if (this.#rekeyingVba >= this.total) {
			return this.#sweepOnce();
		}

		try {
			await this.#rekeyOnce();
			this.#blockCount = Math.min(blocksAtOnce, 2 * this.#blockCount);
		} catch (error) {
			this.#blockCount = Math.max(1, Math.floor(this.#blockCount / 2));
			throw error;
		}

		return true;
	}

	async #rekeyOnce(): Promise<void> {
		const treeCount = 1 + keptSnapshots(this.#securing.latest).length;
		await this.#securing.keyUse.admit(treeCount * this.#blockCount, async () => this.#securing.renew());
		await this.#securing.step(async () => {
			// A snapshot counts from the moment its securing has taken the state, though it may not be anchored yet.
			const {latest} = this.#securing;
			const snapshots = keptSnapshots(latest).map(snapshot => ({generation: snapshot.root.generation, tree: treeOf(latest, snapshot)}));
			const {rekeyingVba} = await this.#servers.virtual_block_device.rekey({snapshots, blockCount: this.#blockCount});
			this.#rekeyingVba = rekeyingVba;
			return superblock => ({...superblock, rekeyingVba});
		});
	}

	async finish(): Promise<void> {
		const {previousKey} = this.#securing.superblock;
		await this.#securing.edit(superblock => ({...superblock, state: 'normal', rekeyingVba: 0, previousKey: undefined}));
		await this.#servers.virtual_block_device.set_keys(keysOf(this.#securing));
		if (previousKey) {
			await this.#servers.crypto.remove_key({keyId: previousKey.id});
		}
	}

	/**
	 * The pool gives up what only held content under the old key; with the key gone nothing would say so any more. No
	 * securing takes its state meanwhile: what changes after the pool was stored must belong to the next generation.
	 */
	async #sweepOnce(): Promise<boolean> {
		if (this.#sweptFrom === undefined) {
			// The pool goes by how far the secured state has been rekeyed.
			await this.#securing.flush();
			this.#sweptFrom = 0;
		}

		const firstLeaf = this.#sweptFrom;
		if (firstLeaf !== null) {
			await this.#securing.step(async () => {
				({nextLeaf: this.#sweptFrom} = await this.#servers.free_tree.sweep({firstLeaf}));
				return superblock => superblock;
			});
		}

		return this.#sweptFrom !== null;
	}
}
