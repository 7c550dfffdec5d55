/**
 * The anchor as it stands: locked, empty, open or failed, the master keys while it is open, and what is derived from
 * them. Calls that change something never overlap: whoever makes them holds the anchor's mutex.
 */
import {createHmac} from 'node:crypto';
import {StartError, type Environment} from '../../../runtime/sdk/component.js';
import {SessionError, isSessionError} from '../../../runtime/sdk/session.js';
import {wrapKey} from '../crypto/wrapped-key.js';
import {deriveFlushMaster} from './derived-keys.js';
import {hashOfWrapped, masterKeyLength, masterKeyOf, renewed, wipeMasterKeys, type MasterKey} from './master-keys.js';
import {SecretOpener} from './secret-opener.js';
import {
	freshMarks,
	UncertainRecord,
	type AnchorContent,
	type AnchorStore,
	type NamedSecret,
	type RecordMarks,
	type SecuredRecord,
} from './served-store.js';

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

/** @throws SessionError `bad_key` where the key was wrapped under none of the master keys */
export function inUseOf({masterKeys}: OpenState, wrapped: Uint8Array): MasterKey {
	const inUse = masterKeyOf(masterKeys, wrapped);
	if (!inUse) {
		throw new SessionError(
			'bad_key',
			'the block key was wrapped under a master key that this anchor no longer has; restore the backup of the anchor that belongs to the image',
		);
	}

	return inUse;
}

/** The one under which keys are wrapped that no other names. */
export function firstKeyOf({masterKeys}: OpenState): MasterKey {
	const first = masterKeys.find(({wrappedHash}) => wrappedHash === undefined);
	if (!first) {
		throw new SessionError(
			'bad_key',
			'the trust anchor has served another container already; give the new one an anchor of its own',
		);
	}

	return first;
}

export class AnchorKeeper {
	readonly secrets: SecretOpener;
	readonly #store: AnchorStore;
	readonly #env: Environment;
	#state: AnchorState;
	/** Made once, as each flush needs it; wiped with the other keys. */
	#flushMaster: Buffer | undefined;

	private constructor(store: AnchorStore, env: Environment, state: AnchorState) {
		this.#store = store;
		this.#env = env;
		this.#state = state;
		this.secrets = new SecretOpener(env);
	}

	static async load(store: AnchorStore, env: Environment): Promise<AnchorKeeper> {
		return new AnchorKeeper(store, env, await loadState(store, env));
	}

	get state(): AnchorState {
		return this.#state;
	}

	/** With nothing under way. */
	async stop(): Promise<void> {
		await this.#store.close();
		if (this.#state.kind === 'open') {
			this.#wipeKeys(this.#state.masterKeys);
		}

		this.#state = {kind: 'failed', error: new SessionError('storage_failed', 'the trust anchor has been stopped')};
	}

	opened(): OpenState {
		if (this.#state.kind === 'failed' || this.#state.kind === 'locked') {
			throw this.#state.error;
		}

		if (this.#state.kind === 'empty') {
			throw new SessionError(
				'not_initialized',
				'the trust anchor holds no master key yet; cbe_init or the first start makes one',
			);
		}

		return this.#state;
	}

	async initialize(passphrase?: NamedSecret): Promise<void> {
		if (this.#state.kind === 'failed' || this.#state.kind === 'locked') {
			throw this.#state.error;
		}

		if (this.#state.kind === 'open') {
			throw new SessionError('already_initialized', 'the trust anchor holds a master key already');
		}

		const drawn = this.#env.randomBytes(masterKeyLength);
		const masterKey = Buffer.from(drawn);
		drawn.fill(0);
		try {
			await this.#store.initialize(masterKey, passphrase);
		} catch (error) {
			masterKey.fill(0);
			throw error;
		}

		this.#state = {
			kind: 'open',
			masterKeys: [{key: masterKey, wrappedHash: undefined}],
			secured: null,
			marks: freshMarks,
		};
	}

	/** A block key wrapped under a master key that did not exist before; undefined where the store renews none. */
	async renewFor(
		open: OpenState,
		current: Uint8Array | undefined,
		blockKey: Uint8Array,
	): Promise<Uint8Array | undefined> {
		if (!current || !this.#store.renew) {
			return undefined;
		}

		const inUse = inUseOf(open, current);
		const drawn = this.#env.randomBytes(masterKeyLength);
		const key = Buffer.from(drawn);
		drawn.fill(0);
		const wrapped = wrapKey(key, blockKey);
		const masterKeys = renewed(open.masterKeys, inUse, {key, wrappedHash: hashOfWrapped(wrapped)});
		if (!(await this.#store.renew(masterKeys))) {
			key.fill(0);
			return undefined;
		}

		wipeMasterKeys(open.masterKeys.filter(held => !masterKeys.includes(held)));
		open.masterKeys = masterKeys;
		return wrapped;
	}

	lastingOf({masterKeys: [{key}]}: OpenState): Uint8Array {
		return this.#store.lasting?.() ?? key;
	}

	flushKeyOf(open: OpenState, hash: Uint8Array): Buffer {
		this.#flushMaster ??= deriveFlushMaster(this.lastingOf(open));
		return createHmac('sha256', this.#flushMaster).update(hash).digest();
	}

	#wipeKeys(masterKeys: readonly MasterKey[]): void {
		wipeMasterKeys(masterKeys);
		this.#flushMaster?.fill(0);
		this.#flushMaster = undefined;
	}

	/**
	 * Has the store remember something. Where nobody knows then what it remembers, the anchor starts over: it reads
	 * what is there, makes that durable, and is asked once more.
	 */
	async remember(open: OpenState, write: (marks: RecordMarks) => Promise<void>, marks: RecordMarks): Promise<void> {
		try {
			await write(marks);
		} catch (error) {
			if (error instanceof UncertainRecord) {
				this.#wipeKeys(open.masterKeys);
				this.#state = {kind: 'failed', error};
				await this.#store.close();
				this.#env.fail(error.message);
			}

			throw error;
		}

		open.marks = marks;
	}

	/** Wipes the keys; an anchor that holds none stays as it is. */
	async lock(): Promise<void> {
		if (this.#state.kind === 'open') {
			const {masterKeys} = this.#state;
			this.#state = lockedState();
			this.#wipeKeys(masterKeys);
			await this.#store.close();
			this.secrets.renew();
			this.#env.dropGarbage();
		}
	}

	async #loadAgain(secret: Uint8Array | undefined): Promise<AnchorContent | undefined> {
		try {
			return await this.#store.load(secret);
		} catch (error) {
			throw error instanceof StartError ? new SessionError('storage_failed', error.message) : error;
		}
	}

	async unlock(secret: Uint8Array | undefined): Promise<void> {
		if (this.#state.kind === 'open') {
			return;
		}

		const content = await this.#loadAgain(secret);
		this.#state = content ? {kind: 'open', ...content} : {kind: 'empty'};
	}
}
