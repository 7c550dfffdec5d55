/**
 * What all trust anchors that keep a master key in memory have in common: the session, the state, the keys. An anchor
 * only brings its store.
 */
import {createHmac, hkdfSync, timingSafeEqual} from 'node:crypto';
import {type z} from 'zod';
import {StartError, type Environment, type Running} from '../../../runtime/sdk/component.js';
import {SessionError, isSessionError} from '../../../runtime/sdk/session.js';
import {Mutex} from '../sync/mutex.js';
import {unwrapKey, wrapKey} from '../crypto/wrapped-key.js';
import {blockKeyLength} from '../../sessions/cipher.js';
import {EnvelopeError, sealEnvelope} from '../crypto/key-envelope.js';
import {hashOfWrapped, masterKeyLength, masterKeyOf, renewed, wipeMasterKeys, type MasterKey} from './master-keys.js';
import {SecretOpener} from './secret-opener.js';
import {type trustAnchor} from '../../sessions/trust-anchor.js';

const superblockKeyLength = 32;

/** What the anchor remembers about the newest superblock. */
export type SecuredRecord = z.output<typeof trustAnchor.ops.secure.request>;

/** What the anchor remembers beside that. */
export type RecordMarks = z.output<typeof trustAnchor.ops.marks.reply>;

/** Of an anchor that has secured nothing yet. */
export const freshMarks: RecordMarks = {intended: null, announces: true, authenticated: false};

/**
 * What a store found: the master keys, newest first, which from now on are the service's to wipe, and the newest
 * record.
 */
export interface AnchorContent {
	readonly masterKeys: readonly MasterKey[];
	readonly secured: SecuredRecord | null;
	readonly marks: RecordMarks;
}

/** A passphrase with a name for people, which is no secret. */
export interface NamedSecret {
	readonly secret: Uint8Array;
	readonly name: string;
	/** Bytes of memory that one guess of it shall take, where that was asked for. */
	readonly memory?: number;
}

/**
 * Where an anchor keeps its content. Calls never overlap; all throw SessionErrors that name the file and the remedy.
 */
export interface AnchorStore {
	/**
	 * Reads and checks everything and changes nothing, but makes durable what it found: a run that was cut off may have
	 * left it in memory alone. Undefined where `initialize` has never succeeded. Without a secret
	 * it takes what the configuration names, and throws `locked` where that opens nothing. The secret stays the
	 * caller's.
	 * @throws StartError where another anchor uses the same files, too
	 */
	load(secret?: Uint8Array): Promise<AnchorContent | undefined>;
	/** Stores the master key, durably, all or nothing. Key and passphrase stay the caller's. */
	initialize(masterKey: Uint8Array, passphrase?: NamedSecret): Promise<void>;
	/** Stores other master keys, durably, all or nothing; false where the anchor's format holds one for good. */
	renew?(masterKeys: readonly MasterKey[]): Promise<boolean>;
	/**
	 * What stays the same secret for good, once the content is loaded; the master key where it is left out. The store
	 * wipes it.
	 */
	lasting?(): Uint8Array;
	/**
	 * Replaces the newest record, durably; a crash leaves the old one or the new one.
	 * @throws UncertainRecord where the record may have been written or not; any other SessionError where nothing was
	 */
	secure(record: SecuredRecord, marks: RecordMarks): Promise<void>;
	/** Replaces the marks in the same way; the record stays. */
	intend(record: SecuredRecord | null, marks: RecordMarks): Promise<void>;
	/** Forgets what it derived from the master key and closes its files. */
	close(): Promise<void>;
}

/** The anchor as it stands. */
type AnchorState =
	/** There is no master key yet. */
	| {readonly kind: 'empty'}
	/** The master keys are there and usable. */
	| {readonly kind: 'open'; masterKeys: readonly MasterKey[]; secured: SecuredRecord | null; marks: RecordMarks}
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

/** @throws SessionError `bad_key` where the key was wrapped under none of the master keys */
function inUseOf({masterKeys}: OpenState, wrapped: Uint8Array): MasterKey {
	const inUse = masterKeyOf(masterKeys, wrapped);
	if (!inUse) {
		throw new SessionError(
			'bad_key',
			'the block key was wrapped under a master key that this anchor no longer has; restore the backup of the anchor that belongs to the image',
		);
	}

	return inUse;
}

/** The key of a container's inner blocks. The caller wipes it. */
function deriveInnerKey(lasting: Uint8Array, containerId: Uint8Array): Buffer {
	return Buffer.from(hkdfSync('sha256', lasting, containerId, 'cbe inner blocks', blockKeyLength));
}

/** Of a superblock of the container. */
function authenticatorOf(lasting: Uint8Array, containerId: Uint8Array, digest: Uint8Array): Buffer {
	const key = Buffer.from(
		hkdfSync('sha256', lasting, containerId, 'cbe superblock authenticator', superblockKeyLength),
	);
	try {
		return createHmac('sha256', key).update(digest).digest();
	} finally {
		key.fill(0);
	}
}

/** Of all flush keys. The caller wipes it. */
function deriveFlushMaster(lasting: Uint8Array): Buffer {
	return Buffer.from(hkdfSync('sha256', lasting, '', 'cbe flush authenticators', superblockKeyLength));
}

/** The one under which keys are wrapped that no other names. */
function firstKeyOf({masterKeys}: OpenState): MasterKey {
	const first = masterKeys.find(({wrappedHash}) => wrappedHash === undefined);
	if (!first) {
		throw new SessionError(
			'bad_key',
			'the trust anchor has served another container already; give the new one an anchor of its own',
		);
	}

	return first;
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

/** Nobody knows which record the medium holds now, so none may be told before the next start has read it. */
export class UncertainRecord extends SessionError {
	constructor(message: string) {
		super('storage_failed', message);
	}
}

/** The `trust_anchor` session on top of `store`. A store that cannot be used shows in the replies, not in the start. */
export async function serveTrustAnchor(store: AnchorStore, env: Environment): Promise<ServedAnchor> {
	let state = await loadState(store, env);
	/** Made once, as each flush needs it; wiped with the other keys. */
	let flushMaster: Buffer | undefined;
	const mutex = new Mutex('anchor');
	const secrets = new SecretOpener(env);

	function opened(): OpenState {
		if (state.kind === 'failed' || state.kind === 'locked') {
			throw state.error;
		}

		if (state.kind === 'empty') {
			throw new SessionError(
				'not_initialized',
				'the trust anchor holds no master key yet; cbe_init or the first start makes one',
			);
		}

		return state;
	}

	async function initialize(passphrase?: NamedSecret): Promise<void> {
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
			await store.initialize(masterKey, passphrase);
		} catch (error) {
			masterKey.fill(0);
			throw error;
		}

		state = {
			kind: 'open',
			masterKeys: [{key: masterKey, wrappedHash: undefined}],
			secured: null,
			marks: freshMarks,
		};
	}

	/** A block key wrapped under a master key that did not exist before; undefined where the store renews none. */
	async function renewFor(
		open: OpenState,
		current: Uint8Array | undefined,
		blockKey: Uint8Array,
	): Promise<Uint8Array | undefined> {
		if (!current || !store.renew) {
			return undefined;
		}

		const inUse = inUseOf(open, current);
		const drawn = env.randomBytes(masterKeyLength);
		const key = Buffer.from(drawn);
		drawn.fill(0);
		const wrapped = wrapKey(key, blockKey);
		const masterKeys = renewed(open.masterKeys, inUse, {key, wrappedHash: hashOfWrapped(wrapped)});
		if (!(await store.renew(masterKeys))) {
			key.fill(0);
			return undefined;
		}

		wipeMasterKeys(open.masterKeys.filter(held => !masterKeys.includes(held)));
		open.masterKeys = masterKeys;
		return wrapped;
	}

	function lastingOf({masterKeys: [{key}]}: OpenState): Uint8Array {
		return store.lasting?.() ?? key;
	}

	function flushKeyOf(open: OpenState, hash: Uint8Array): Buffer {
		flushMaster ??= deriveFlushMaster(lastingOf(open));
		return createHmac('sha256', flushMaster).update(hash).digest();
	}

	function wipeKeys(masterKeys: readonly MasterKey[]): void {
		wipeMasterKeys(masterKeys);
		flushMaster?.fill(0);
		flushMaster = undefined;
	}

	/**
	 * Has the store remember something. Where nobody knows then what it remembers, the anchor starts over: it reads
	 * what is there, makes that durable, and is asked once more.
	 */
	async function remember(
		open: OpenState,
		write: (marks: RecordMarks) => Promise<void>,
		marks: RecordMarks,
	): Promise<void> {
		try {
			await write(marks);
		} catch (error) {
			if (error instanceof UncertainRecord) {
				wipeKeys(open.masterKeys);
				state = {kind: 'failed', error};
				await store.close();
				env.fail(error.message);
			}

			throw error;
		}

		open.marks = marks;
	}

	/** Wipes the keys; an anchor that holds none stays as it is. */
	async function lock(): Promise<void> {
		if (state.kind === 'open') {
			const {masterKeys} = state;
			state = lockedState();
			wipeKeys(masterKeys);
			await store.close();
			secrets.renew();
			env.dropGarbage();
		}
	}

	async function loadAgain(secret: Uint8Array | undefined): Promise<AnchorContent | undefined> {
		try {
			return await store.load(secret);
		} catch (error) {
			throw error instanceof StartError ? new SessionError('storage_failed', error.message) : error;
		}
	}

	async function unlock(secret: Uint8Array | undefined): Promise<void> {
		if (state.kind === 'open') {
			return;
		}

		const content = await loadAgain(secret);
		state = content ? {kind: 'open', ...content} : {kind: 'empty'};
	}

	const running: ServedAnchor['running'] = {
		provides: {
			trust_anchor: {
				access: () => ({state: state.kind}),
				recipient: () => ({publicKey: secrets.publicKey}),
				lock: async () =>
					mutex.run(async () => {
						await lock();
						return {};
					}),
				async unlock({sealed}) {
					await secrets.use(sealed, async secret => mutex.run(async () => unlock(secret)));
					return {};
				},
				status() {
					if (state.kind === 'failed' || state.kind === 'locked') {
						throw state.error;
					}

					return state.kind === 'open'
						? {initialized: true, secured: state.secured}
						: {initialized: false, secured: null};
				},
				initialize: async () =>
					mutex.run(async () => {
						await initialize();
						return {};
					}),
				create_key: async ({current}) =>
					mutex.run(async () => {
						const open = opened();
						const blockKey = env.randomBytes(blockKeyLength);
						try {
							return {
								wrapped:
									(await renewFor(open, current, blockKey)) ??
									wrapKey(firstKeyOf(open).key, blockKey),
							};
						} finally {
							blockKey.fill(0);
						}
					}),
				share_key({wrapped, recipient}) {
					const blockKey = unwrapKey(inUseOf(opened(), wrapped).key, wrapped);
					try {
						return {envelope: envelopeFor(recipient, blockKey, env)};
					} finally {
						blockKey.fill(0);
					}
				},
				share_inner_key({containerId, recipient}) {
					const innerKey = deriveInnerKey(lastingOf(opened()), containerId);
					try {
						return {envelope: envelopeFor(recipient, innerKey, env)};
					} finally {
						innerKey.fill(0);
					}
				},
				authenticate({containerId, digest}) {
					const open = opened();
					open.marks = {...open.marks, authenticated: true};
					return {authenticator: authenticatorOf(lastingOf(open), containerId, digest)};
				},
				verify: ({containerId, digest, authenticator}) => ({
					isAuthentic: timingSafeEqual(
						authenticatorOf(lastingOf(opened()), containerId, digest),
						authenticator,
					),
				}),
				marks: () => opened().marks,
				intend: async ({hash}) =>
					mutex.run(async () => {
						const open = opened();
						await remember(open, async marks => store.intend(open.secured, marks), {
							...open.marks,
							intended: hash,
							announces: true,
						});
						return {};
					}),
				flush_key: ({hash}) => ({key: flushKeyOf(opened(), hash)}),
				secure: async record =>
					mutex.run(async () => {
						const open = opened();
						await remember(open, async marks => store.secure(record, marks), {
							...open.marks,
							intended: null,
							announces: true,
						});
						open.secured = record;
						return {flushKey: flushKeyOf(open, record.hash)};
					}),
			},
		},
		async stop() {
			await mutex.idle();
			await store.close();
			if (state.kind === 'open') {
				wipeKeys(state.masterKeys);
			}

			state = {kind: 'failed', error: new SessionError('storage_failed', 'the trust anchor has been stopped')};
		},
		status: () => ({
			anchor: state.kind,
			...(state.kind === 'open' && typeof state.secured?.generation === 'number'
				? {secured_generation: state.secured.generation}
				: {}),
		}),
	};
	return {
		running,
		secrets,
		mutex,
		initialize: async passphrase => mutex.run(async () => initialize(passphrase)),
		isEmpty: () => state.kind === 'empty',
	};
}
