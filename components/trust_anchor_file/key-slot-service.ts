/** The `anchor_keys` session: key slots listed, added, changed and given up. */
import {stat} from 'node:fs/promises';
import type {Environment} from '../../runtime/sdk/component.js';
import {EnvelopeError, sealEnvelope} from '../lib/crypto/key-envelope.js';
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import type {anchorKeys, KeyDescription} from '../sessions/anchor-keys.js';
import type {ServedAnchor} from '../lib/anchor/anchor-service.js';
import {masterKeyLength} from '../lib/anchor/master-keys.js';
import {wipeSecrets, type AnchorSecrets} from './anchor-secrets.js';
import type {FileAnchorStore, OpenedAnchor} from './anchor-store.js';
import {describeSlot, emptySlot, isEmpty, isIntact, makeSlot, slotNameLengthMax, type SlotKind} from './key-slot.js';
import {passphraseLengthMax} from '../lib/anchor/passphrase-source.js';
import {formatRecoveryKey, parseRecoveryKey, recoveryKeyLength} from '../lib/anchor/recovery-key.js';
import {isMemoryChoice, isWeak, memoryBytes, type Derivation} from './slot-derivation.js';
import {listSlots} from './slot-store.js';
import {freshTable, slotCount} from './slots-file.js';

const kindNames: Readonly<Record<SlotKind, string>> = {
	passphrase: 'passphrase',
	recovery: 'recovery key',
	key_file: 'key file',
};

function describeDerivation(derivation: Derivation): string {
	return derivation.kind === 'hkdf'
		? 'hkdf-sha256'
		: `scrypt N=2^${derivation.logN} r=${derivation.r} p=${derivation.p}, ${memoryBytes(derivation) / 2 ** 20} MiB`;
}

function refused(message: string): SessionError {
	return new SessionError('refused', message);
}

function requireUsable(passphrase: Uint8Array): void {
	if (passphrase.length > passphraseLengthMax) {
		throw refused(`a passphrase has at most ${passphraseLengthMax} bytes`);
	}

	// It would be taken for a recovery key whenever it is given.
	if (parseRecoveryKey(passphrase) !== 'other') {
		throw refused('a passphrase must not look like a recovery key');
	}
}

function requireMemory(memory: number | undefined): void {
	if (memory !== undefined && !isMemoryChoice(memory)) {
		throw refused('the memory of a guess is a power of two, from 1M to 512M');
	}
}

function requireName(name: string): void {
	if (Buffer.byteLength(name) > slotNameLengthMax || /\p{Cc}/u.test(name)) {
		throw refused(`a name has at most ${slotNameLengthMax} bytes and no control characters`);
	}
}

/** What goes into a slot. */
interface NewKey {
	readonly kind: SlotKind;
	readonly name: string;
	/** The caller wipes it. */
	readonly secret: Uint8Array;
	/** Bytes of memory that a guess of a passphrase shall take, where that was asked for. */
	readonly memory?: number;
}

export class KeySlots {
	readonly handlers: Handlers<typeof anchorKeys>;
	readonly #store: FileAnchorStore;
	readonly #anchor: ServedAnchor;
	readonly #env: Environment;

	constructor(store: FileAnchorStore, anchor: ServedAnchor, env: Environment) {
		this.#store = store;
		this.#anchor = anchor;
		this.#env = env;
		this.handlers = {
			list: async () => anchor.mutex.run(async () => this.#list()),
			recipient: () => ({publicKey: anchor.secrets.publicKey}),
			add: async ({existing, secret, name, memory}) => ({
				slot: await this.#withSecret(secret, async passphrase =>
					this.#addPassphrase(existing, {kind: 'passphrase', name, secret: passphrase, memory}),
				),
			}),
			add_recovery: async ({existing, recipient, name}) => this.#addRecovery(existing, recipient, name),
			change: async ({existing, slot, secret, memory}) => ({
				slot: await (secret === undefined
					? this.#change(existing, slot, {})
					: this.#withSecret(secret, async passphrase => this.#change(existing, slot, {passphrase, memory}))),
			}),
			remove: async ({existing, slot}) => {
				await this.#remove(existing, slot);
				return {};
			},
		};
	}

	async #list() {
		const {keyFile, slots} = this.#store;
		const table = await slots.read();
		const hasFile = await stat(keyFile.path).then(
			() => true,
			() => false,
		);
		if (!table) {
			const keys: KeyDescription[] = hasFile
				? [{slot: 0, kind: 'key_file', name: '', derivation: 'none', isWeak: false}]
				: [];
			return {state: hasFile ? 'present' : 'empty', hasKeyFile: hasFile, keys, slotCount} as const;
		}

		const keys = listSlots(table).map(({index, description}): KeyDescription =>
			description
				? {
						slot: index,
						kind: description.kind,
						name: description.name,
						derivation: describeDerivation(description.derivation),
						isWeak: isWeak(description.derivation),
					}
				: {slot: index, kind: 'damaged', name: '', derivation: '', isWeak: false},
		);
		return {
			state: 'present',
			hasKeyFile: hasFile && keys.some(({kind}) => kind === 'key_file'),
			keys,
			slotCount,
		} as const;
	}

	async #withSecret<T>(sealed: string, job: (secret: Buffer) => Promise<T>): Promise<T> {
		const secret = this.#anchor.secrets.open(sealed);
		try {
			return await job(secret);
		} finally {
			secret.fill(0);
		}
	}

	/**
	 * Runs a change with what opens the anchor; changes run one after another, and wrong passphrases are answered late.
	 */
	async #authorized<T>(existing: string | undefined, job: (opened: OpenedAnchor) => Promise<T>): Promise<T> {
		return this.#anchor.secrets.use(existing, async secret => {
			const opened = await this.#store.open(secret);
			try {
				return await job(opened);
			} finally {
				wipeSecrets(opened.secrets);
			}
		});
	}

	async #addPassphrase(existing: string | undefined, key: NewKey): Promise<number> {
		requireUsable(key.secret);
		requireMemory(key.memory);
		if (this.#anchor.isEmpty()) {
			requireName(key.name);
			await this.#anchor.initialize(key);
			this.#env.log('the trust anchor was made, with a passphrase in slot 0');
			return 0;
		}

		return this.#authorized(existing, async opened => this.#put(opened, undefined, key));
	}

	async #addRecovery(
		existing: string | undefined,
		recipient: string,
		name: string,
	): Promise<{slot: number; sealed: string}> {
		if (this.#anchor.isEmpty()) {
			throw refused('there is no trust anchor yet; add a passphrase first');
		}

		return this.#authorized(existing, async opened => {
			const key = this.#env.randomBytes(recoveryKeyLength);
			const text = Buffer.from(formatRecoveryKey(key));
			try {
				const sealed = Buffer.from(
					sealEnvelope(text, Buffer.from(recipient, 'hex'), count => this.#env.randomBytes(count)),
				).toString('hex');
				return {slot: await this.#put(opened, undefined, {kind: 'recovery', name, secret: key}), sealed};
			} catch (error) {
				throw error instanceof EnvelopeError ? new SessionError('bad_key', error.message) : error;
			} finally {
				key.fill(0);
				text.fill(0);
			}
		});
	}

	async #change(
		existing: string | undefined,
		wanted: number | undefined,
		{passphrase, memory}: {passphrase?: Buffer; memory?: number},
	): Promise<number> {
		requireMemory(memory);
		return this.#authorized(existing, async opened => {
			const index = wanted ?? opened.index;
			const slot = this.#slotsOf(opened)[index];
			const description = opened.table ? describeSlot(slot) : ({kind: 'key_file', name: ''} as const);
			if (!description) {
				throw refused(`slot ${index} is empty or damaged; "runtime key add" adds a passphrase`);
			}

			if (description.kind === 'key_file') {
				return this.#changeKeyFile(opened, index);
			}

			if (description.kind === 'recovery') {
				throw refused(
					`slot ${index} is a recovery key; add a new one with "runtime key recovery" and remove this one`,
				);
			}

			if (!passphrase) {
				throw refused('the new passphrase is missing');
			}

			requireUsable(passphrase);
			return this.#put(opened, index, {kind: 'passphrase', name: description.name, secret: passphrase, memory});
		});
	}

	/** A new key file takes the old one's place; where there were no slots yet, there are from now on. */
	async #changeKeyFile(opened: OpenedAnchor, index: number): Promise<number> {
		const {keyFile} = this.#store;
		const key = this.#env.randomBytes(masterKeyLength);
		try {
			await this.#store.write(async () => keyFile.writeNext(key));
			await this.#put(opened, index, {kind: 'key_file', name: '', secret: key});
			await this.#store.write(async () => keyFile.advance());
		} finally {
			key.fill(0);
		}

		return index;
	}

	async #remove(existing: string | undefined, index: number): Promise<void> {
		await this.#authorized(existing, async opened => {
			const {table} = opened;
			const slot = table?.slots[index];
			if (!table || !slot || isEmpty(slot)) {
				throw refused(
					table
						? `slot ${index} is empty`
						: 'the key file is the only thing that opens the anchor; add a passphrase first',
				);
			}

			if (opened.index === index) {
				const others = listSlots(table).filter(other => other.index !== index && other.description);
				throw refused(
					others.length === 0
						? `slot ${index} is the last one that opens the anchor`
						: `slot ${index} is the one that was just used to open the anchor; name another passphrase or the recovery key, so that something is known to be left`,
				);
			}

			const kind = isIntact(slot) ? describeSlot(slot)?.kind : undefined;
			await this.#write(
				opened,
				table.slots.map((present, i) => (i === index ? Buffer.from(emptySlot) : present)),
			);
			if (kind === 'key_file') {
				await this.#store.write(async () => void (await this.#store.keyFile.remove()));
			}

			this.#env.log(`slot ${index} (${kind ? kindNames[kind] : 'damaged'}) was removed`);
		});
	}

	#slotsOf({table}: OpenedAnchor): readonly Buffer[] {
		return table?.slots ?? freshTable([]).slots;
	}

	/** Puts a key into a slot, the first empty one where none is given; resolves with the slot's number. */
	async #put(
		opened: Pick<OpenedAnchor, 'table' | 'secrets'>,
		wanted: number | undefined,
		key: NewKey,
	): Promise<number> {
		requireName(key.name);
		const {table, secrets} = opened;
		if (table) {
			this.#store.slots.requireAuthentic(
				{...table, slots: table.slots.map((slot, i) => (i === wanted ? Buffer.from(emptySlot) : slot))},
				secrets,
			);
		}

		const slots = [...(await this.#presentSlots(opened, wanted))];
		const index = wanted ?? slots.findIndex(slot => isEmpty(slot));
		if (index === -1) {
			throw refused(`all ${slotCount} slots are in use; remove one first`);
		}

		slots[index] = await this.#make(key, secrets, describeSlot(slots[index])?.derivation);
		await this.#write(opened, slots);
		this.#env.log(`slot ${index} now holds a ${kindNames[key.kind]}`);
		return index;
	}

	/** The slots as they are; a key file that stood alone gets the first one, unless it is about to be replaced. */
	async #presentSlots(
		{table, secrets}: Pick<OpenedAnchor, 'table' | 'secrets'>,
		replaced: number | undefined,
	): Promise<readonly Buffer[]> {
		if (table) {
			return table.slots;
		}

		const {key} = secrets.masterKeys[0];
		return freshTable(replaced === 0 ? [] : [await this.#make({kind: 'key_file', name: '', secret: key}, secrets)])
			.slots;
	}

	/**
	 * Writes the slots, unless others were written since `table` was read: the master keys may have been renewed
	 * meanwhile.
	 */
	async #write({table}: Pick<OpenedAnchor, 'table'>, slots: readonly Buffer[]): Promise<void> {
		const {slots: file} = this.#store;
		await this.#anchor.mutex.run(async () =>
			this.#store.write(async () => {
				const now = await file.read();
				if (now?.sequence !== table?.sequence) {
					throw refused('the slots were changed meanwhile; try again');
				}

				await (table ? file.update(table, slots) : file.replace(freshTable(slots)));
				this.#store.noteSlots();
			}),
		);
	}

	/** @param replaced what the key takes the place of */
	async #make({kind, name, secret, memory}: NewKey, secrets: AnchorSecrets, replaced?: Derivation): Promise<Buffer> {
		const derivation: Derivation =
			kind === 'passphrase' ? await this.#store.costOfGuess(memory, replaced) : {kind: 'hkdf'};
		return makeSlot({kind, name, derivation, secret}, secrets, count => this.#env.randomBytes(count));
	}
}
