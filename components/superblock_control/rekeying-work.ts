/** Rekeying of the device and all its snapshots (format section 7). */
import {blockSize} from '../lib/format/geometry.js';
import type {KeyId, Vba} from '../sessions/vocabulary.js';
import type {Superblock} from '../lib/format/superblock.js';
import type {Work} from './background-operation.js';
import type {CryptoKeys} from './crypto-keys.js';
import type {OpeningServers} from './opening.js';
import {requireSlot} from './restrictions.js';
import type {Commit} from './commit.js';
import {currentSnapshotOf, keptSnapshots, keysOf, treeOf, type SuperblockEdit} from './transition.js';

/** Blocks of each tree that one step goes through: 1 MiB. A running step keeps writes to its range waiting. */
const blocksAtOnce = 256;

/** Makes a new key the current one and the current key the previous one, durably. Nothing is sealed with it yet. */
export async function beginRekeying(servers: OpeningServers, commit: Commit, keys: CryptoKeys): Promise<void> {
	const {wrapped} = await servers.trust_anchor.create_key({current: commit.superblock.currentKey.wrapped});
	const id = commit.superblock.currentKey.id + 1;
	try {
		await keys.add(commit.superblock, {wrapped, id});
		await commit.checkpointWith({kind: 'begin_rekeying', key: {wrapped, id}});
	} catch (error) {
		await keys.take(id);
		throw error;
	}

	// Until now every block was written with the key that is now the previous one: what it is for every VBA.
	await servers.virtual_block_device.set_keys(keysOf(commit.superblock));
}

/** The number of leaves that a rekeying goes through. */
function rekeyedLeafCount(superblock: Superblock): number {
	return Math.max(
		currentSnapshotOf(superblock).leafCount,
		...keptSnapshots(superblock).map(({leafCount}) => leafCount),
	);
}

/**
 * A rekeying goes through these phases. The secured rekeying VBA is always that of a leaf: the last leaf gets its new
 * key in the same state that ends the rekeying. (The original takes a rekeying VBA behind the last leaf for one before
 * the first.)
 */
type Phase =
	/** All leaves but the last one get the new key. */
	| {readonly kind: 'leaves'}
	/**
	 * The pool gives up what only held content under the old key, which is all but that of the last leaf; from this
	 * entry on.
	 */
	| {readonly kind: 'sweep'; readonly firstLeaf: Vba}
	| {readonly kind: 'last_leaf'}
	/** The state without the old key is being secured. */
	| {readonly kind: 'ending'}
	/**
	 * The pool gives up what was left. Where this is cut short, snapshots hold a few blocks until they are discarded.
	 */
	| {readonly kind: 'last_sweep'; readonly firstLeaf: Vba};

/** What is left of the rekeying that a superblock describes. */
export class RekeyingWork implements Work {
	readonly unitBytes = blockSize;
	readonly secureIntervalMs = 1000;
	readonly total: number;
	readonly #servers: OpeningServers;
	readonly #commit: Commit;
	readonly #keys: CryptoKeys;
	readonly #previousKeyId: KeyId;
	#phase: Phase = {kind: 'leaves'};
	#rekeyingVba: number;
	/** Halved where the pool has not enough to hand out, doubled again with every step that succeeds. */
	#blockCount = blocksAtOnce;
	#lostBlockCount = 0;

	constructor(servers: OpeningServers, commit: Commit, keys: CryptoKeys) {
		const {superblock} = commit;
		this.#servers = servers;
		this.#commit = commit;
		this.#keys = keys;
		this.#previousKeyId = keysOf(superblock).previousKeyId;
		this.#rekeyingVba = commit.upcoming.rekeyingVba;
		this.total = rekeyedLeafCount(superblock);
	}

	get done(): number {
		return Math.min(this.#rekeyingVba, this.total);
	}

	get outcome(): string | undefined {
		const count = this.#lostBlockCount;
		return count === 0
			? undefined
			: `${count} ${count === 1 ? 'block was' : 'blocks were'} unreadable before and ${count === 1 ? 'stays' : 'stay'} so: ${count === 1 ? 'it was' : 'they were'} not rekeyed`;
	}

	async step(): Promise<boolean> {
		const next = await this.#stepOf(this.#phase);
		this.#phase = next ?? this.#phase;
		return next !== undefined;
	}

	/** One step; replies with the phase after it, undefined at the end. */
	async #stepOf(phase: Phase): Promise<Phase | undefined> {
		switch (phase.kind) {
			case 'leaves': {
				if (this.#rekeyingVba < this.total - 1) {
					await this.#rekeyWithRoom();
					return phase;
				}

				// The pool goes by how far the secured state has been rekeyed.
				await this.#commit.checkpoint();
				return {kind: 'sweep', firstLeaf: 0};
			}

			case 'sweep': {
				const firstLeaf = await this.#sweep(phase.firstLeaf, Math.min(this.#rekeyingVba, this.total - 1));
				return firstLeaf === null ? {kind: 'last_leaf'} : {kind: 'sweep', firstLeaf};
			}

			case 'last_leaf': {
				await this.#rekeyLast();
				return {kind: 'ending'};
			}

			case 'ending': {
				await this.#commit.checkpoint();
				return {kind: 'last_sweep', firstLeaf: 0};
			}

			case 'last_sweep': {
				const firstLeaf = await this.#sweep(phase.firstLeaf, this.total);
				return firstLeaf === null ? undefined : {kind: 'last_sweep', firstLeaf};
			}
		}
	}

	async #rekeyWithRoom(): Promise<void> {
		try {
			await this.#rekeyOnce(this.#blockCount, this.total - 1, () => ({
				kind: 'rekey',
				rekeyingVba: this.#rekeyingVba,
			}));
			this.#blockCount = Math.min(blocksAtOnce, 2 * this.#blockCount);
		} catch (error) {
			this.#blockCount = Math.max(1, Math.floor(this.#blockCount / 2));
			throw error;
		}
	}

	async #rekeyLast(): Promise<void> {
		await this.#rekeyOnce(1, this.total, async () => {
			// From now on every block has the new key; where this is not secured the device is opened as it was before.
			await this.#servers.virtual_block_device.set_keys({
				currentKeyId: this.#commit.latest.currentKey.id,
				previousKeyId: 0,
				rekeyingVba: 0,
			});
			await this.#keys.take(this.#previousKeyId);
			return {kind: 'end_rekeying'};
		});
	}

	async #rekeyOnce(
		blockCount: number,
		untilVba: Vba,
		edit: () => SuperblockEdit | Promise<SuperblockEdit>,
	): Promise<void> {
		const treeCount = 1 + keptSnapshots(this.#commit.latest).length;
		await this.#commit.keyUse.admit(treeCount * blockCount, async () => this.#commit.checkpointAnew());
		await this.#commit.changeTogether(async () => {
			// A snapshot counts from the moment its checkpoint has taken the state, though it may not be anchored yet.
			const {latest} = this.#commit;
			requireSlot(latest);
			const snapshots = keptSnapshots(latest).map(snapshot => ({
				generation: snapshot.root.generation,
				tree: treeOf(latest, snapshot),
			}));
			const {rekeyingVba, lostBlockCount} = await this.#servers.virtual_block_device.rekey({
				snapshots,
				blockCount,
				untilVba,
			});
			this.#rekeyingVba = rekeyingVba;
			this.#lostBlockCount += lostBlockCount;
			return edit();
		});
	}

	/** Nothing is to be done after the last step but to secure it. */
	async finish(): Promise<void> {
		await this.#commit.checkpoint();
	}

	/**
	 * No checkpoint takes its state meanwhile: what changes after the pool was stored must belong to the next
	 * generation.
	 */
	async #sweep(firstLeaf: Vba, rekeyingVba: Vba): Promise<Vba | null> {
		let nextLeaf: Vba | null = null;
		await this.#commit.changeTogether(async () => {
			({nextLeaf} = await this.#servers.free_tree.sweep({
				firstLeaf,
				rekeyed: {previousKeyId: this.#previousKeyId, rekeyingVba},
			}));
			return {kind: 'trees_only'};
		});
		return nextLeaf;
	}
}
