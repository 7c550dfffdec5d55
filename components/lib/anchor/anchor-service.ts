/**
 * What all trust anchors that keep a master key in memory have in common: the session, the state, the keys. An anchor
 * only brings its store.
 */
import {timingSafeEqual} from 'node:crypto';
import {type Environment, type Running} from '../../../runtime/sdk/component.js';
import {SessionError, type Handlers} from '../../../runtime/sdk/session.js';
import {blockKeyLength} from '../../sessions/cipher.js';
import {type trustAnchor} from '../../sessions/trust-anchor.js';
import {EnvelopeError, sealEnvelope} from '../crypto/key-envelope.js';
import {unwrapKey, wrapKey} from '../crypto/wrapped-key.js';
import {Mutex} from '../sync/mutex.js';
import {AnchorKeeper, firstKeyOf, inUseOf} from './anchor-keeper.js';
import {authenticatorOf, deriveInnerKey} from './derived-keys.js';
import type {SecretOpener} from './secret-opener.js';
import type {AnchorStore, NamedSecret} from './served-store.js';

type AnchorHandlers = Handlers<typeof trustAnchor>;

function envelopeFor(recipient: Uint8Array, blockKey: Uint8Array, env: Environment): Uint8Array {
	try {
		return sealEnvelope(blockKey, recipient, count => env.randomBytes(count));
	} catch (error) {
		if (error instanceof EnvelopeError) {
			throw new SessionError('bad_key', error.message);
		}

		throw error;
	}
}

export interface ServedAnchor {
	readonly running: Running<{trust_anchor: typeof trustAnchor}>;
	readonly secrets: SecretOpener;
	/** Calls of the store that change something, and locking, one after another. */
	readonly mutex: Mutex;
	/** Makes the anchor with a passphrase, where there is none yet. */
	initialize(passphrase: NamedSecret): Promise<void>;
	readonly isEmpty: () => boolean;
}

/** Whether the anchor is there, locked or open. */
function stateHandlers(
	keeper: AnchorKeeper,
	mutex: Mutex,
): Pick<AnchorHandlers, 'access' | 'recipient' | 'lock' | 'unlock' | 'status' | 'initialize'> {
	return {
		access: () => ({state: keeper.state.kind}),
		recipient: () => ({publicKey: keeper.secrets.publicKey}),
		lock: async () =>
			mutex.run(async () => {
				await keeper.lock();
				return {};
			}),
		async unlock({sealed}) {
			await keeper.secrets.use(sealed, async secret => mutex.run(async () => keeper.unlock(secret)));
			return {};
		},
		status() {
			const {state} = keeper;
			if (state.kind === 'failed' || state.kind === 'locked') {
				throw state.error;
			}

			return state.kind === 'open'
				? {initialized: true, secured: state.secured}
				: {initialized: false, secured: null};
		},
		initialize: async () =>
			mutex.run(async () => {
				await keeper.initialize();
				return {};
			}),
	};
}

/** Block keys: made, wrapped, and handed to crypto servers in envelopes. */
function keyHandlers(
	keeper: AnchorKeeper,
	mutex: Mutex,
	env: Environment,
): Pick<AnchorHandlers, 'create_key' | 'share_key' | 'share_inner_key'> {
	return {
		create_key: async ({current}) =>
			mutex.run(async () => {
				const open = keeper.opened();
				const blockKey = env.randomBytes(blockKeyLength);
				try {
					return {
						wrapped:
							(await keeper.renewFor(open, current, blockKey)) ?? wrapKey(firstKeyOf(open).key, blockKey),
					};
				} finally {
					blockKey.fill(0);
				}
			}),
		share_key({wrapped, recipient}) {
			const blockKey = unwrapKey(inUseOf(keeper.opened(), wrapped).key, wrapped);
			try {
				return {envelope: envelopeFor(recipient, blockKey, env)};
			} finally {
				blockKey.fill(0);
			}
		},
		share_inner_key({containerId, recipient}) {
			const innerKey = deriveInnerKey(keeper.lastingOf(keeper.opened()), containerId);
			try {
				return {envelope: envelopeFor(recipient, innerKey, env)};
			} finally {
				innerKey.fill(0);
			}
		},
	};
}

/** What the anchor remembers of the newest state, and by what its own states are told from others. */
function recordHandlers(
	keeper: AnchorKeeper,
	store: AnchorStore,
	mutex: Mutex,
): Pick<AnchorHandlers, 'authenticate' | 'verify' | 'marks' | 'intend' | 'flush_key' | 'secure'> {
	return {
		authenticate({containerId, digest}) {
			const open = keeper.opened();
			open.marks = {...open.marks, authenticated: true};
			return {authenticator: authenticatorOf(keeper.lastingOf(open), containerId, digest)};
		},
		verify: ({containerId, digest, authenticator}) => ({
			isAuthentic: timingSafeEqual(
				authenticatorOf(keeper.lastingOf(keeper.opened()), containerId, digest),
				authenticator,
			),
		}),
		marks: () => keeper.opened().marks,
		intend: async ({hash}) =>
			mutex.run(async () => {
				const open = keeper.opened();
				await keeper.remember(open, async marks => store.intend(open.secured, marks), {
					...open.marks,
					intended: hash,
					announces: true,
				});
				return {};
			}),
		flush_key: ({hash}) => ({key: keeper.flushKeyOf(keeper.opened(), hash)}),
		secure: async record =>
			mutex.run(async () => {
				const open = keeper.opened();
				await keeper.remember(open, async marks => store.secure(record, marks), {
					...open.marks,
					intended: null,
					announces: true,
				});
				open.secured = record;
				return {flushKey: keeper.flushKeyOf(open, record.hash)};
			}),
	};
}

/** The `trust_anchor` session on top of `store`. A store that cannot be used shows in the replies, not in the start. */
export async function serveTrustAnchor(store: AnchorStore, env: Environment): Promise<ServedAnchor> {
	const keeper = await AnchorKeeper.load(store, env);
	const mutex = new Mutex('anchor');
	return {
		running: {
			provides: {
				trust_anchor: {
					...stateHandlers(keeper, mutex),
					...keyHandlers(keeper, mutex, env),
					...recordHandlers(keeper, store, mutex),
				},
			},
			async stop() {
				await mutex.idle();
				await keeper.stop();
			},
			status() {
				const {state} = keeper;
				return {
					anchor: state.kind,
					...(state.kind === 'open' && typeof state.secured?.generation === 'number'
						? {secured_generation: state.secured.generation}
						: {}),
				};
			},
		},
		secrets: keeper.secrets,
		mutex,
		initialize: async passphrase => mutex.run(async () => keeper.initialize(passphrase)),
		isEmpty: () => keeper.state.kind === 'empty',
	};
}
