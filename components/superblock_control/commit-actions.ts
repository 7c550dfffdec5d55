/** What the commit machine asks for, done with the servers that have it. */
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import {allEnded} from '../lib/sync/all-ended.js';
import {encodeFlush} from '../lib/format/flush-log.js';
import {blockSize} from '../lib/format/geometry.js';
import {labelOf} from '../lib/format/label.js';
import {withDirectory} from '../lib/container/snapshot-directory.js';
import {sealSuperblock} from '../lib/container/superblock-authenticator.js';
import {encodeEmptiedSlot} from '../lib/format/superblock-codec.js';
import {lockWatch} from '../lib/sync/lock-order.js';
import {Mutex} from '../lib/sync/mutex.js';
import type {block} from '../sessions/block.js';
import type {crypto} from '../sessions/crypto.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import type {CommitEvent, Action} from './commit-state.js';
import type {SealedCounts} from './key-use.js';
import {clearOldKeys} from './old-keys.js';
import {horizonOf} from './transition.js';

export interface CommitServers {
	readonly block: Client<typeof block>;
	readonly virtual_block_device: Client<typeof virtualBlockDevice>;
	readonly free_tree: Client<typeof freeTree>;
	readonly trust_anchor: Client<typeof trustAnchor>;
	/** Has the key of the inner blocks; where they are not encrypted nobody asks it. */
	readonly crypto?: Client<typeof crypto>;
}

export interface CommitSources {
	/** The number of the last change that was acknowledged. */
	changeCount(): number;
	sealedCounts(): SealedCounts | undefined;
	/** The medium has no room for the trees, `attempt` times already; true where there may be some now. */
	onNoRoom(attempt: number): Promise<boolean>;
}

export class CommitActions {
	/** Held while a state is taken to be secured, and while trees and superblock change together. */
	readonly mutex = new Mutex('trees and superblock');
	readonly #servers: CommitServers;
	readonly #sources: CommitSources;
	/** Gives back the lock that an action has taken. */
	#unlock: (() => void) | undefined;
	/** The trust anchor's key for the next flush; wiped as soon as there is another. */
	#flushKey: Uint8Array | undefined;

	constructor(servers: CommitServers, sources: CommitSources) {
		this.#servers = servers;
		this.#sources = sources;
	}

	useFlushKey(flushKey: Uint8Array | undefined): void {
		this.#flushKey?.fill(0);
		this.#flushKey = flushKey && Uint8Array.from(flushKey);
	}

	/** Gives back the lock that an action took. */
	unlock(): void {
		this.#unlock?.();
		this.#unlock = undefined;
	}

	/** Performs an action of the commit that all who want one wait for. */
	perform(action: Action): Promise<CommitEvent> {
		return lockWatch
			? lockWatch.holding(this.#unlock ? 'trees and superblock' : 'commit', async () => this.#perform(action))
			: this.#perform(action);
	}

	async #perform(action: Action): Promise<CommitEvent> {
		const {block, trust_anchor: anchor, virtual_block_device: device, free_tree: pool, crypto} = this.#servers;
		switch (action.kind) {
			case 'lock': {
				this.#unlock = await this.mutex.lock();
				return {kind: 'locked', change: this.#sources.changeCount()};
			}

			case 'take_changes': {
				const {changes} = await device.log({countMax: action.countMax});
				return {kind: 'changes', changes, change: this.#sources.changeCount()};
			}

			case 'store_trees': {
				const {nextGeneration, isRootKept} = action;
				const trees = await this.#withRoom(async () => device.store({nextGeneration, isRootKept}));
				return {kind: 'stored', trees, sealedCounts: this.#sources.sealedCounts()};
			}

			case 'append': {
				const {
					log: {area, tail, form},
					changes,
					generation,
				} = action;
				const {
					firstPba,
					data,
					tail: appended,
				} = encodeFlush(area, tail, {form, key: this.#flushKey}, changes, generation);
				await block.write({extents: [firstPba, data.length / blockSize], data, durable: true});
				return {kind: 'appended', tail: appended};
			}

			case 'seal': {
				const {superblock, write: directory} = await withDirectory(action.before, action.superblock, crypto);
				const sealed = await sealSuperblock(anchor, superblock);
				return {kind: 'sealed', superblock, directory, block: sealed, hash: labelOf(sealed)};
			}

			case 'empty_slot': {
				await block.write({extents: [action.slot, 1], data: encodeEmptiedSlot()});
				return {kind: 'written'};
			}

			case 'write_directory': {
				await block.write({extents: [action.address, 1], data: action.data});
				return {kind: 'written'};
			}

			case 'write_superblock': {
				await block.write({extents: [action.slot, 1], data: action.block});
				return {kind: 'written'};
			}

			case 'sync': {
				await block.sync({});
				return {kind: 'synced'};
			}

			case 'sync_and_announce': {
				await allEnded([block.sync({}), anchor.intend({hash: action.hash})]);
				return {kind: 'announced'};
			}

			case 'anchor': {
				const {flushKey} = await anchor.secure({
					hash: action.hash,
					generation: action.generation,
					creating: false,
				});
				this.useFlushKey(flushKey);
				return {kind: 'anchored', hasFlushKey: flushKey !== undefined};
			}

			case 'clear_old_keys': {
				await clearOldKeys(block, action.slot, action.superblock);
				return {kind: 'cleared'};
			}

			case 'advance': {
				await pool.advance(horizonOf(action.superblock));
				return {kind: 'advanced'};
			}
		}
	}

	/** Does what stores, once more where the medium had no room and has some now. */
	async #withRoom<T>(job: () => Promise<T>): Promise<T> {
		for (let attempt = 0; ; attempt++) {
			try {
				return await job();
			} catch (error) {
				if (!(isSessionError(error) && error.code === 'no_space' && (await this.#sources.onNoRoom(attempt)))) {
					throw error;
				}
			}
		}
	}
}
