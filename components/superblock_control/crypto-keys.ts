/**
 * The keys of the container that the crypto server shall hold, whichever instance of it is there. Giving them and
 * taking them away go one after the other: a key that is still on its way has arrived before it is taken away.
 *
 * Invariant: once `takeAll` has resolved no crypto server holds a key of the container until `give` is called, whatever
 * restarts. Until then one that came back gets all of them.
 */
import {isSessionError} from '../../runtime/sdk/session.js';
import {keyDelivery, keyDeliveries, type KeyServers, type KeyDelivery} from '../lib/container/key-delivery.js';
import type {Key, Superblock} from '../lib/format/superblock.js';
import {Mutex} from '../lib/sync/mutex.js';
import type {KeyId} from '../sessions/vocabulary.js';

export class CryptoKeys {
	readonly #servers: KeyServers;
	readonly #mutex = new Mutex('crypto keys');
	/**
	 * How each key that is wanted gets to the server. Changed under the mutex only, together with what the server
	 * holds.
	 */
	readonly #wanted = new Map<KeyId, KeyDelivery>();

	constructor(servers: KeyServers) {
		this.#servers = servers;
	}

	/** True where a crypto server may hold a key. */
	get areWanted(): boolean {
		return this.#wanted.size > 0;
	}

	/** Gives every key of the container. Where it fails some may be there, until `takeAll`. @throws SessionError */
	async give(superblock: Superblock): Promise<void> {
		await this.#mutex.run(async () => {
			for (const [id, way] of keyDeliveries(this.#servers, superblock)) {
				this.#wanted.set(id, way);
				await way();
			}
		});
	}

	/** Gives one more. Where it fails it may be there, until `take`. @throws SessionError */
	async add(superblock: Superblock, key: Key): Promise<void> {
		await this.#mutex.run(async () => {
			const way = keyDelivery(this.#servers, superblock, key);
			this.#wanted.set(key.id, way);
			await way();
		});
	}

	/**
	 * Gives a crypto server that came back what is wanted now. A trust anchor that is locked gives none: then the
	 * device is about to be locked, too, and unlocking gives them.
	 */
	async giveAgain(): Promise<void> {
		await this.#mutex.run(async () => {
			try {
				for (const way of this.#wanted.values()) {
					await way();
				}
			} catch (error) {
				if (!(isSessionError(error) && error.code === 'locked')) {
					throw error;
				}
			}
		});
	}

	/** Takes one away, where it was given. */
	async take(id: KeyId): Promise<void> {
		await this.#mutex.run(async () => {
			await this.#remove(id);
		});
	}

	/** Takes all away. Where it fails those that are left stay wanted, and it can be called again. */
	async takeAll(): Promise<void> {
		await this.#mutex.run(async () => {
			for (const id of [...this.#wanted.keys()]) {
				await this.#remove(id);
			}
		});
	}

	/**
	 * Only under the mutex. A server that comes back under it is asked once more and has none; then it waits for the
	 * mutex.
	 */
	async #remove(id: KeyId): Promise<void> {
		if (this.#wanted.has(id)) {
			await this.#servers.crypto.remove_key({keyId: id});
			this.#wanted.delete(id);
		}
	}
}
