/** A trust anchor in memory that wraps nothing: its block keys are what the test says. */
import {createHmac} from 'node:crypto';
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import type {Secured} from '../../components/lib/format/superblock-search.js';
import type {trustAnchor} from '../../components/sessions/trust-anchor.js';

/** The key of inner blocks, whatever the container. */
export const innerKey = new Uint8Array(32).fill(0x1e);

/** The authenticator of a superblock, as simple anchors make it. */
export function authenticatorOf(containerId: Uint8Array, digest: Uint8Array): Buffer {
	return createHmac('sha256', containerId).update(digest).digest();
}

/** The key of the flush that follows what has this hash, as simple anchors make it. */
export function flushKeyOf(hash: Uint8Array): Buffer {
	return createHmac('sha256', 'flush').update(hash).digest();
}

export class MemoryAnchor {
	initialized: boolean;
	secured: Secured | null;
	/** What was announced to be written. */
	intended: Uint8Array | null = null;
	announces = true;
	authenticated = false;
	/** Every record that was secured, in order. */
	readonly history: Secured[] = [];
	readonly #wrapped: Uint8Array;
	/** Makes the envelope with a key, as the crypto server of the test expects it. */
	readonly #share: ((wrapped: Uint8Array) => Uint8Array) | undefined;

	constructor({
		secured = null,
		initialized = secured !== null,
		wrapped = new Uint8Array(32).fill(7),
		share,
	}: {
		secured?: Secured | null;
		initialized?: boolean;
		wrapped?: Uint8Array;
		share?: (wrapped: Uint8Array) => Uint8Array;
	} = {}) {
		this.secured = secured;
		this.initialized = initialized;
		this.#wrapped = wrapped;
		this.#share = share;
	}

	get handlers(): Handlers<typeof trustAnchor> {
		return {
			access: () => ({state: this.initialized ? 'open' : 'empty'}),
			recipient: () => ({publicKey: new Uint8Array(32)}),
			lock: () => ({}),
			unlock: () => ({}),
			status: () => ({initialized: this.initialized, secured: this.secured}),
			initialize: () => {
				this.initialized = true;
				return {};
			},
			create_key: () => {
				if (!this.initialized) {
					throw new SessionError('not_initialized', 'there is no master key yet');
				}

				return {wrapped: this.#wrapped};
			},
			share_key: ({wrapped}) => {
				if (this.#share) {
					return {envelope: this.#share(wrapped)};
				}

				throw new SessionError('bad_key', 'this anchor shares no key');
			},
			share_inner_key: () => {
				if (this.#share) {
					return {envelope: this.#share(innerKey)};
				}

				throw new SessionError('bad_key', 'this anchor shares no key');
			},
			authenticate: ({containerId, digest}) => {
				this.authenticated = true;
				return {authenticator: authenticatorOf(containerId, digest)};
			},
			verify: ({containerId, digest, authenticator}) => ({
				isAuthentic: authenticatorOf(containerId, digest).equals(authenticator),
			}),
			marks: () => ({intended: this.intended, announces: this.announces, authenticated: this.authenticated}),
			intend: ({hash}) => {
				this.intended = Uint8Array.from(hash);
				this.announces = true;
				return {};
			},
			flush_key: ({hash}) => ({key: flushKeyOf(hash)}),
			secure: record => {
				this.secured = record;
				this.intended = null;
				this.announces = true;
				this.history.push(record);
				return {flushKey: flushKeyOf(record.hash)};
			},
		};
	}
}
