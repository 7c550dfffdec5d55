/** What reader and writer share: the current tree, its generation and its keys. */
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import type {Frame, Generation, KeyId, Level, NodeIndex, Pba, Vba} from '../sessions/vocabulary.js';
import {extentsOf} from '../lib/format/extents.js';
import {maxLevelLimit} from '../lib/format/geometry.js';
import type {LeafChanges} from '../lib/format/flush-log.js';
import {HashTree} from '../lib/tree/hash-tree.js';
import type {HeldBlocks, RootMark} from '../lib/tree/held-blocks.js';
import {labelLength} from '../lib/format/label.js';
import type {block} from '../sessions/block.js';
import type {crypto} from '../sessions/crypto.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {TreeRoot} from '../sessions/tree-root.js';
import {ChangedLeaves} from './changed-leaves.js';
import {UnsettledBlocks} from './unsettled-blocks.js';

/** Keys by VBA (format section 3): below `rekeyingVba` the current key, from there on the previous one. */
export interface Keys {
	readonly currentKeyId: KeyId;
	/** 0 while no rekeying is going on. */
	readonly previousKeyId: KeyId;
	readonly rekeyingVba: Vba;
	/** The previous key was never stored: what it has sealed is lost. */
	readonly isPreviousKeyLost?: boolean | undefined;
}

export interface Servers {
	readonly block: Client<typeof block>;
	readonly crypto: Client<typeof crypto>;
	readonly free_tree: Client<typeof freeTree>;
}

/**
 * The pool may have no block to hand out, too; that another error of the same code is the medium's, its detail says.
 */
function asMediumFault(error: unknown): unknown {
	return error instanceof SessionError && error.code === 'no_space'
		? new SessionError(error.code, error.message, {...error.detail, onMedium: true})
		: error;
}

const currentTreeMark = -1;

/** A tree that is only read: no label ever goes to its root. */
export const readOnlyMark = -2;

/** Marks of snapshots that a rekeying changes count down from here. */
const firstSnapshotMark = -3;

/** A secured state to start from. */
export interface DeviceState {
	readonly tree: TreeRoot;
	readonly keys: Keys;
	readonly currentGeneration: Generation;
	readonly innerBlocks?: 'encrypted' | undefined;
	readonly emptiesLeaves?: true | undefined;
}

/** A kept snapshot, as the superblock describes it. */
export interface KeptSnapshot {
	readonly generation: Generation;
	readonly tree: TreeRoot;
}

/** A leaf's place and label. */
export interface LoggedLeaf {
	readonly address: Pba;
	readonly label: Uint8Array;
}

export class Device {
	readonly held: HeldBlocks;
	readonly servers: Servers;
	readonly env: Environment;
	#tree: HashTree | undefined;
	#keys: Keys = {currentKeyId: 0, previousKeyId: 0, rekeyingVba: 0};
	currentGeneration: Generation = 0;
	/**
	 * True where a leaf that was written may have given up its content: it keeps its place, and its label is all zero.
	 */
	emptiesLeaves = false;
	/**
	 * Trees of kept snapshots that a rekeying has taken up, by name; newer than the superblock's until they are stored.
	 */
	readonly #snapshots = new Map<Generation, HashTree>();
	#nextMark = firstSnapshotMark;
	/** Blocks that a rekeying has placed in the current generation, though their nodes keep their generation. */
	readonly placedByRekeying = new Set<Pba>();
	/** What has changed since the tree was stored. */
	readonly changes = new ChangedLeaves();
	/** Where leaves are by the flush log of a container that is only read. */
	#logged: ReadonlyMap<Vba, LoggedLeaf> | undefined;
	/** What failed writes have left behind. */
	readonly unsettled = new UnsettledBlocks();
	/** A rekeying step has changed trees and could not store them: nothing else may change before they are. */
	#isStoringDue = false;

	constructor(held: HeldBlocks, servers: Servers, env: Environment) {
		this.held = held;
		this.servers = servers;
		this.env = env;
	}

	open({tree, keys, currentGeneration, innerBlocks, emptiesLeaves}: DeviceState): void {
		this.held.reset(innerBlocks);
		this.replaceTree(tree);
		this.#snapshots.clear();
		this.placedByRekeying.clear();
		this.changes.reset();
		this.unsettled.reset();
		this.#logged = undefined;
		this.#isStoringDue = false;
		this.#keys = keys;
		this.currentGeneration = currentGeneration;
		this.emptiesLeaves = emptiesLeaves === true;
	}

	/** True where the leaf at this node has content; without, it reads as zeroes. */
	isWritten(frame: Frame, index: NodeIndex): boolean {
		return this.held.nodes.generation(frame, index) !== 0 && !this.isEmptied(frame, index);
	}

	/** True where the leaf at this node, which was written, has given up its content. */
	isEmptied(frame: Frame, index: NodeIndex): boolean {
		return this.emptiesLeaves && this.held.nodes.isEmptied(frame, index);
	}

	/** From now on this is the current tree. No changed block of the old one may be held. */
	replaceTree(tree: TreeRoot): void {
		this.#tree = new HashTree(this.held, tree, currentTreeMark);
	}

	/** The tree of the current state. */
	get tree(): HashTree {
		if (!this.#tree) {
			throw new SessionError('bad_request', 'the virtual block device has not been opened');
		}

		return this.#tree;
	}

	get keys(): Keys {
		return this.#keys;
	}

	/** From now on the current tree is read with these changes on top. */
	readWith({vbas, addresses, labels}: LeafChanges): void {
		this.#logged = new Map(
			vbas.map((vba, i) => [
				vba,
				{address: addresses[i], label: labels.subarray(i * labelLength, (i + 1) * labelLength)},
			]),
		);
	}

	/**
	 * The changes that a tree is read with, of what the current generation has logged; undefined where there are none.
	 */
	loggedOf(tree: HashTree): ReadonlyMap<Vba, LoggedLeaf> | undefined {
		return tree === this.#tree ? this.#logged : undefined;
	}

	setKeys(keys: Keys): void {
		this.#keys = keys;
	}

	/** The tree to read a snapshot from. */
	snapshotTree({generation, tree}: KeptSnapshot): HashTree {
		return this.#snapshots.get(generation) ?? new HashTree(this.held, tree, readOnlyMark);
	}

	/** The trees of the kept snapshots, to be changed; others are forgotten. */
	takeUpSnapshots(kept: readonly KeptSnapshot[]): Map<Generation, HashTree> {
		for (const generation of [...this.#snapshots.keys()]) {
			if (!kept.some(snapshot => snapshot.generation === generation)) {
				this.#snapshots.delete(generation);
			}
		}

		for (const {generation, tree} of kept) {
			if (!this.#snapshots.has(generation)) {
				this.#snapshots.set(generation, new HashTree(this.held, tree, this.#nextMark--));
			}
		}

		return this.#snapshots;
	}

	/** Snapshots that a rekeying has taken up, as they now stand. */
	get changedSnapshots(): KeptSnapshot[] {
		return [...this.#snapshots].map(([generation, {root}]) => ({generation, tree: root}));
	}

	/** Labels and stores every changed block. With no write under way. */
	async storeTrees(): Promise<number> {
		try {
			const count = await this.held.store((mark, hash) => {
				this.#setRootHash(mark, hash);
			});
			this.#isStoringDue = false;
			return count;
		} catch (error) {
			throw asMediumFault(error);
		}
	}

	/** Writes sealed blocks to their places. @throws SessionError; of a `no_space` of the medium the detail says so */
	async writeBlocks(addresses: readonly Pba[], sealed: Uint8Array): Promise<void> {
		try {
			await this.servers.block.write({extents: extentsOf(addresses), data: sealed});
		} catch (error) {
			throw asMediumFault(error);
		}

		this.unsettled.forget(addresses);
	}

	/** Stores every changed block now or, where the medium refuses, before anything else is changed. */
	async storeTreesFirst(): Promise<void> {
		this.#isStoringDue = true;
		try {
			await this.storeTrees();
		} catch (error) {
			if (!(error instanceof SessionError)) {
				throw error;
			}
		}
	}

	get isStoringDue(): boolean {
		return this.#isStoringDue;
	}

	#setRootHash(mark: RootMark, hash: Uint8Array): void {
		for (const tree of [this.tree, ...this.#snapshots.values()]) {
			if (tree.mark === mark) {
				tree.setRootHash(hash);
			}
		}
	}

	/**
	 * The VBA that the pool keeps for a replaced block at `level` on the way to `vba`: the lowest one below it. A block
	 * that a rekeying has reached in part is needed by snapshots until the rekeying has passed the VBA where it stands
	 * now. A block of an unfinished branch has no leaf below it, so no rekeying ever gives the snapshots that refer to
	 * it another one: for it stands a VBA that none reaches.
	 */
	poolVba(vba: Vba, level: Level): Vba {
		const {geometry} = this.tree;
		const lowest = geometry.lowestVba(vba, level);
		if (lowest >= geometry.leafCount) {
			return geometry.degree ** maxLevelLimit;
		}

		const {previousKeyId, rekeyingVba} = this.#keys;
		const reachedInPart =
			previousKeyId !== 0 && lowest < rekeyingVba && rekeyingVba < lowest + geometry.degree ** level;
		return reachedInPart ? rekeyingVba : lowest;
	}

	keyOf(vba: Vba): KeyId {
		return this.#keys.previousKeyId !== 0 && vba >= this.#keys.rekeyingVba
			? this.#keys.previousKeyId
			: this.#keys.currentKeyId;
	}
}
