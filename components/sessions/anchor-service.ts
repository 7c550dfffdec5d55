/**
 * What all trust anchors that keep a master key in memory have in common: the session, the state, the keys. An anchor
 * only brings its store.
 */
import {type z} from 'zod';
import type {Environment, Running} from '../../runtime/sdk/component.js';
import {SessionError, isSessionError} from '../../runtime/sdk/session.js';
import {Turn} from '../container/turn.js';
import {unwrapKey, wrapKey} from '../container/wrapped-key.js';
import {blockKeyLength} from './cipher.js';
import {EnvelopeError, sealEnvelope} from '../../runtime/sdk/key-envelope.js';
import {SealedSecrets} from './sealed-secrets.js';
import {type trustAnchor} from './trust-anchor.js';

/** What the anchor remembers about the newest superblock. */
export type SecuredRecord = z.output<typeof trustAnchor.ops.secure.request>;

export const masterKeyLength = 32;

/** What a store found: the master key, which from now on is the service's to wipe, and the newest record. */
export interface AnchorContent {
	readonly masterKey: Buffer;
	readonly secured: SecuredRecord | null;
}

/** Where an anchor keeps its content. Calls never overlap; all throw SessionErrors that name the file and the remedy. */
export interface AnchorStore {
	/**
	 * Reads and checks everything and changes nothing; undefined where `initialize` has never succeeded. Without a secret
	 * it takes what the configuration names, and throws `locked` where that opens nothing. The secret stays the caller's.
	 */
	load(secret?: Uint8Array): Promise<AnchorContent | undefined>;
	/** Stores the master key, durably, all or nothing. The key stays the caller's. */
	initialize(masterKey: Uint8Array): Promise<void>;
	/** Replaces the newest record, durably; a crash leaves the old one or the new one. */
	secure(record: SecuredRecord): Promise<void>;
	/** Forgets what it derived from the master key and closes its files. */
	close(): Promise<void>;
}

/** The anchor as it stands. */
type AnchorState =
	/** There is no master key yet. */
	| {readonly kind: 'empty'}
	/** The master key is there and usable. */
	| {readonly kind: 'open'; readonly masterKey: Buffer; secured: SecuredRecord | null}
	/** The keys are not here; every operation says what to do. */
	| {readonly kind: 'locked'; readonly error: SessionError}
	/** What is there cannot be used; every operation says why. */
	| {readonly kind: 'failed'; readonly error: SessionError};

type OpenState = Extract<AnchorState, {kind: 'open'}>;

function lockedState(): AnchorState {
	return {kind: 'locked', error: new SessionError('locked', 'the trust anchor is locked; "runtime unlock" opens it')};
}

async function loadState(store: AnchorStore, env: Environment): Promise<AnchorState> {
	try {
		const content = await store.load();
		return content ? {kind: 'open', ...content} : {kind: 'empty'};
	} catch (error) {
		if (!isSessionError(error)) {
			throw error;
		}

		if (error.code === 'locked') {
			env.log(error.message, 'warning');
			return {kind: 'locked', error};
		}

		return {kind: 'failed', error};
	}
}

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
	readonly secrets: SealedSecrets;
	/** Calls of the store that change something, and locking, one after another. */
	readonly turn: Turn;
}

/** The `trust_anchor` session on top of `store`. A store that cannot be used shows in the replies, not in the start. */
export async function serveTrustAnchor(store: AnchorStore, env: Environment): Promise<ServedAnchor> {
	let state = await loadState(store, env);
	const turn = new Turn();
	const secrets = new SealedSecrets(env);

	function opened(): OpenState {
		if (state.kind === 'failed' || state.kind === 'locked') {
			throw state.error;
		}

		if (state.kind === 'empty') {
			throw new SessionError('not_initialized', 'the trust anchor holds no master key yet; cbe_init or the first start makes one');
		}

		return state;
	}

	async function initialize(): Promise<void> {
		if (state.kind === 'failed' || state.kind === 'locked') {
			throw state.error;
		}

		if (state.kind === 'open') {
			throw new SessionError('already_initialized', 'the trust anchor holds a master key already');
		}

		const drawn = env.randomBytes(masterKeyLength);
		const masterKey = Buffer.from(drawn);
		drawn.fill(0);
		try {
			await store.initialize(masterKey);
		} catch (error) {
			masterKey.fill(0);
			throw error;
		}

		state = {kind: 'open', masterKey, secured: null};
	}

	/** Wipes the keys; an anchor that holds none stays as it is. */
	async function lock(): Promise<void> {
		if (state.kind === 'open') {
			const {masterKey} = state;
			state = lockedState();
			masterKey.fill(0);
			await store.close();
			secrets.renew();
		}
	}

	async function unlock(secret: Uint8Array | undefined): Promise<void> {
		if (state.kind === 'open') {
			return;
		}

		const content = await store.load(secret);
		state = content ? {kind: 'open', ...content} : {kind: 'empty'};
	}

	const running: ServedAnchor['running'] = {
		provides: {
			trust_anchor: {
				access: () => ({state: state.kind}),
				recipient: () => ({publicKey: secrets.publicKey}),
				lock: async () => turn.take(async () => {
					await lock();
					return {};
				}),
				async unlock({sealed}) {
					await secrets.use(sealed, async secret => turn.take(async () => unlock(secret)));
					return {};
				},
				status() {
					if (state.kind === 'failed' || state.kind === 'locked') {
						throw state.error;
					}

					return state.kind === 'open' ? {initialized: true, secured: state.secured} : {initialized: false, secured: null};
				},
				initialize: async () => turn.take(async () => {
					await initialize();
					return {};
				}),
				create_key() {
					const {masterKey} = opened();
					const blockKey = env.randomBytes(blockKeyLength);
					try {
						return {wrapped: wrapKey(masterKey, blockKey)};
					} finally {
						blockKey.fill(0);
					}
				},
				share_key({wrapped, recipient}) {
					const blockKey = unwrapKey(opened().masterKey, wrapped);
					try {
						return {envelope: envelopeFor(recipient, blockKey, env)};
					} finally {
						blockKey.fill(0);
					}
				},
				secure: async record => turn.take(async () => {
					const open = opened();
					await store.secure(record);
					open.secured = record;
					return {};
				}),
			},
		},
		async stop() {
			await turn.idle();
			await store.close();
			if (state.kind === 'open') {
				state.masterKey.fill(0);
			}

			state = {kind: 'failed', error: new SessionError('storage_failed', 'the trust anchor has been stopped')};
		},
		status: () => ({
			anchor: state.kind,
			...(state.kind === 'open' && typeof state.secured?.generation === 'number' ? {secured_generation: state.secured.generation} : {}),
		}),
	};
	return {running, secrets, turn};
}
