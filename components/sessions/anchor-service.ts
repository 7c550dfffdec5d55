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
import {EnvelopeError, sealEnvelope} from './key-envelope.js';
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
	/** Reads and checks everything and changes nothing; undefined where `initialize` has never succeeded. */
	load(): Promise<AnchorContent | undefined>;
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
	/** What is there cannot be used; every operation says why. */
	| {readonly kind: 'failed'; readonly error: SessionError};

type OpenState = Extract<AnchorState, {kind: 'open'}>;

async function loadState(store: AnchorStore): Promise<AnchorState> {
	try {
		const content = await store.load();
		return content ? {kind: 'open', ...content} : {kind: 'empty'};
	} catch (error) {
		if (isSessionError(error)) {
			return {kind: 'failed', error};
		}

		throw error;
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

/** The `trust_anchor` session on top of `store`. A store that cannot be used shows in the replies, not in the start. */
export async function serveTrustAnchor(store: AnchorStore, env: Environment): Promise<Running<{trust_anchor: typeof trustAnchor}>> {
	let state = await loadState(store);
	const turn = new Turn();

	function opened(): OpenState {
		if (state.kind === 'failed') {
			throw state.error;
		}

		if (state.kind === 'empty') {
			throw new SessionError('not_initialized', 'the trust anchor holds no master key yet; cbe_init or the first start makes one');
		}

		return state;
	}

	async function initialize(): Promise<void> {
		if (state.kind === 'failed') {
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

	return {
		provides: {
			trust_anchor: {
				status() {
					if (state.kind === 'failed') {
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
}
