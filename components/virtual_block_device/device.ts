/** What reader and writer share: the current tree, its generation and its keys. */
import type {Environment} from '../../runtime/sdk/component.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import type {Generation, KeyId, Vba} from '../container/addresses.js';
import {HashTree} from '../container/hash-tree.js';
import type {HeldBlocks} from '../container/held-blocks.js';
import type {block} from '../sessions/block.js';
import type {crypto} from '../sessions/crypto.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {TreeRoot} from '../sessions/tree-root.js';

/** Keys by VBA (format section 3): below `rekeyingVba` the current key, from there on the previous one. */
export interface Keys {
	readonly currentKeyId: KeyId;
	/** 0 while no rekeying is going on. */
	readonly previousKeyId: KeyId;
	readonly rekeyingVba: Vba;
}

export interface Servers {
	readonly block: Client<typeof block>;
	readonly crypto: Client<typeof crypto>;
	readonly free_tree: Client<typeof freeTree>;
}

const currentTreeMark = -1;

/** Snapshot trees hold no changed blocks, so no label ever goes to their root. */
export const snapshotMark = -2;

export class Device {
	readonly held: HeldBlocks;
	readonly servers: Servers;
	readonly env: Environment;
	#tree: HashTree | undefined;
	#keys: Keys = {currentKeyId: 0, previousKeyId: 0, rekeyingVba: 0};
	currentGeneration: Generation = 0;

	constructor(held: HeldBlocks, servers: Servers, env: Environment) {
		this.held = held;
		this.servers = servers;
		this.env = env;
	}

	open({tree, keys, currentGeneration}: {tree: TreeRoot; keys: Keys; currentGeneration: Generation}): void {
		this.held.reset();
		this.replaceTree(tree);
		this.#keys = keys;
		this.currentGeneration = currentGeneration;
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

	keyOf(vba: Vba): KeyId {
		return this.#keys.previousKeyId !== 0 && vba >= this.#keys.rekeyingVba ? this.#keys.previousKeyId : this.#keys.currentKeyId;
	}
}
