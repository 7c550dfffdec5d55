/**
 * The block keys of one crypto server. A key lives as long as a session that added it, and until its last user is done.
 *
 * Key ids are counted by each container on its own. So a second device that shares a server with a first one would
 * replace its key under the same id, and both would write garbage: that is refused.
 */
import {createHash} from 'node:crypto';
import type {Environment} from '../../../runtime/sdk/component.js';
import {SessionError, type ClientContext} from '../../../runtime/sdk/session.js';
import {blockKeyLength, type CipherName} from '../../sessions/cipher.js';
import type {CipherSuite, PreparedKey} from './cipher-suite.js';
import {createRecipient, EnvelopeError, openEnvelope, type EnvelopeRecipient} from './key-envelope.js';

/** How long a request waits for its key: a restarted server gets its keys again, but later than the first requests. */
const keyWaitMs = 5000;

interface HeldKey {
	readonly prepared: PreparedKey;
	/** SHA-256 over cipher and key, to tell a different key from the same one added again. */
	readonly fingerprint: Buffer;
	/** Names of the clients whose sessions added it, by session. */
	readonly holders: Map<number, string>;
	userCount: number;
	dropped: boolean;
}

export interface AddedKey {
	readonly keyId: number;
	readonly cipher: CipherName;
	readonly envelope: Uint8Array;
}

export class KeyRing {
	readonly #suite: CipherSuite;
	readonly #env: Environment;
	readonly #recipient: EnvelopeRecipient;
	readonly #keys = new Map<number, HeldKey>();
	/** Wakes the requests that wait for a key. */
	readonly #arrivals = new Map<number, Set<() => void>>();

	constructor(suite: CipherSuite, env: Environment) {
		this.#suite = suite;
		this.#env = env;
		this.#recipient = createRecipient(count => env.randomBytes(count));
	}

	get recipient(): Uint8Array {
		return this.#recipient.publicKey;
	}

	get count(): number {
		return this.#keys.size;
	}

	add({keyId, cipher, envelope}: AddedKey, {session, client}: ClientContext): void {
		const blockKey = this.#open(envelope);
		try {
			const fingerprint = createHash('sha256').update(cipher).update(blockKey).digest();
			const held = this.#keys.get(keyId);
			if (held?.fingerprint.equals(fingerprint)) {
				held.holders.set(session, client);
				return;
			}

			if (held) {
				this.#checkReplaceable(held, keyId, client);
			}

			const prepared = this.#prepare(cipher, blockKey, keyId);
			if (held) {
				this.#drop(keyId, held);
			}

			this.#keys.set(keyId, {
				prepared,
				fingerprint,
				holders: new Map([[session, client]]),
				userCount: 0,
				dropped: false,
			});
		} finally {
			blockKey.fill(0);
		}

		this.#announce(keyId);
	}

	remove(keyId: number, {session}: ClientContext): void {
		const held = this.#keys.get(keyId);
		if (held?.holders.delete(session) && held.holders.size === 0) {
			this.#drop(keyId, held);
		}
	}

	/** A session has ended: what only it had added goes. */
	forgetSession(session: number): void {
		for (const [keyId, held] of this.#keys) {
			if (held.holders.delete(session) && held.holders.size === 0) {
				this.#drop(keyId, held);
			}
		}
	}

	/**
	 * Runs `job` with the key, which stays usable until what it returns is there. Waits for the key where it is not
	 * there yet; else what need not wait is done without a promise.
	 */
	use<T>(keyId: number, job: (key: PreparedKey) => Promise<T> | T): Promise<T> | T {
		const held = this.#keys.get(keyId);
		return held ? this.#useHeld(held, job) : this.#arrival(keyId).then(arrived => this.#useHeld(arrived, job));
	}

	wipe(): void {
		for (const [keyId, held] of this.#keys) {
			this.#drop(keyId, held);
		}
	}

	#useHeld<T>(held: HeldKey, job: (key: PreparedKey) => Promise<T> | T): Promise<T> | T {
		held.userCount++;
		let result: Promise<T> | T;
		try {
			result = job(held.prepared);
		} catch (error) {
			this.#release(held);
			throw error;
		}

		if (result instanceof Promise) {
			return result.finally(() => {
				this.#release(held);
			});
		}

		this.#release(held);
		return result;
	}

	#release(held: HeldKey): void {
		held.userCount--;
		this.#wipeWhenUnused(held);
	}

	#open(envelope: Uint8Array): Buffer {
		let blockKey: Buffer;
		try {
			blockKey = openEnvelope(envelope, this.#recipient);
		} catch (error) {
			if (error instanceof EnvelopeError) {
				throw new SessionError('bad_envelope', error.message);
			}

			throw error;
		}

		if (blockKey.length !== blockKeyLength) {
			const {length} = blockKey;
			blockKey.fill(0);
			throw new SessionError(
				'bad_envelope',
				`the envelope holds ${length} bytes instead of a block key of ${blockKeyLength}`,
			);
		}

		return blockKey;
	}

	#prepare(cipher: CipherName, blockKey: Uint8Array, keyId: number): PreparedKey {
		const prepared = this.#suite.prepare(cipher, blockKey, keyId);
		if (!prepared) {
			throw new SessionError(
				'unsupported_cipher',
				cipher === 'none'
					? `the container is not encrypted (cipher none) and "${this.#env.name}" encrypts; route crypto to crypto_none, or create a container with another cipher`
					: `the container has cipher ${cipher} and "${this.#env.name}" does not encrypt; route crypto to crypto_openssl, or say cipher="none" where a new container is created`,
			);
		}

		return prepared;
	}

	#checkReplaceable({holders}: HeldKey, keyId: number, client: string): void {
		for (const holder of holders.values()) {
			if (holder !== client) {
				throw new SessionError(
					'bad_request',
					`key ${keyId} is a different key of "${holder}" already; give each device a crypto server of its own`,
				);
			}
		}
	}

	#drop(keyId: number, held: HeldKey): void {
		this.#keys.delete(keyId);
		held.dropped = true;
		this.#wipeWhenUnused(held);
	}

	#wipeWhenUnused(held: HeldKey): void {
		if (held.dropped && held.userCount === 0) {
			held.prepared.wipe();
			held.fingerprint.fill(0);
			this.#env.dropGarbage();
		}
	}

	#announce(keyId: number): void {
		const waiting = this.#arrivals.get(keyId);
		this.#arrivals.delete(keyId);
		for (const wake of waiting ?? []) {
			wake();
		}
	}

	async #arrival(keyId: number): Promise<HeldKey> {
		const waiting = this.#arrivals.get(keyId) ?? new Set();
		this.#arrivals.set(keyId, waiting);
		await new Promise<void>(resolve => {
			waiting.add(resolve);
			void this.#env.sleep(keyWaitMs).then(() => {
				waiting.delete(resolve);
				resolve();
			});
		});
		const held = this.#keys.get(keyId);
		if (!held) {
			throw new SessionError('unknown_key', `key ${keyId} has not been added within ${keyWaitMs / 1000} s`, {
				keyId,
			});
		}

		return held;
	}
}
