/**
 * A trust anchor on storage as unkind as a real one may be. A record that is being written has arrived or not when the
 * power fails; one that was written and not synced, since its process was killed or its sync failed, reads back until
 * the power fails and may be gone then, unless the anchor has written it once more.
 */
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import type {Secured} from '../../components/lib/format/superblock-search.js';
import {freshMarks, type RecordMarks} from '../../components/lib/anchor/served-store.js';
import type {trustAnchor} from '../../components/sessions/trust-anchor.js';
import {authenticatorOf, flushKeyOf, innerKey} from '../support/memory-anchor.js';
import type {Random} from './random.js';

/** Makes the envelope that carries a block key to a crypto server. */
export type EnvelopeSealer = (
	key: Uint8Array,
	recipient: Uint8Array,
	randomBytes: (count: number) => Uint8Array,
) => Uint8Array;

/** What the anchor's storage holds. */
export interface AnchorState {
	readonly initialized: boolean;
	readonly secured: Secured | null;
	readonly marks: RecordMarks;
}

const blankState: AnchorState = {initialized: false, secured: null, marks: freshMarks};

export interface AnchorOptions {
	/** After a crash somebody has to unlock it; otherwise whoever starts it again opens it. */
	readonly locksAtStart: boolean;
	/**
	 * False for an anchor that believes what it reads, though it may not be durable: a fault that the simulator has to
	 * find.
	 */
	readonly settles: boolean;
}

export class SimulatedAnchor {
	changeCount = 0;
	/** Probability that a record fails; whether it was remembered stays open. */
	faultRate = 0;
	/** True while an earlier program runs, which writes superblocks without announcing them. */
	isOfOldProgram = false;
	/** Called before a record may be remembered. */
	onCheckpoint: (secured: Secured) => void = () => undefined;
	onSecured: (secured: Secured) => void = () => undefined;
	readonly #random: Random;
	readonly #options: AnchorOptions;
	/** What reads back. */
	#state: AnchorState;
	/** What a loss of power leaves for certain. */
	#durable: AnchorState;
	/** A record under way. */
	#pending: AnchorState | undefined;
	/** What was read has been made durable since the start. */
	#isSettled = false;
	#locked: boolean;

	constructor(
		random: Random,
		options: AnchorOptions,
		{state = blankState, durable = state}: {state?: AnchorState | undefined; durable?: AnchorState} = {},
	) {
		this.#random = random;
		this.#options = options;
		this.#state = state;
		this.#durable = durable;
		this.#locked = options.locksAtStart && state.initialized;
	}

	get isLocked(): boolean {
		return this.#locked;
	}

	get secured(): Secured | null {
		return this.#state.secured;
	}

	/** A superblock that may have been written though the anchor does not keep it yet. */
	get intended(): Uint8Array | null {
		return this.#state.marks.intended;
	}

	/** What a copy of the anchor's files would hold now. */
	get content(): AnchorState {
		return this.#state;
	}

	/** The anchor as it is after the power failed. */
	afterPowerLoss(random: Random): SimulatedAnchor {
		const state = random.pick([this.#durable, this.#state, ...(this.#pending ? [this.#pending] : [])]);
		return new SimulatedAnchor(random, this.#options, {state});
	}

	/**
	 * The anchor as it is after the process was killed: a record under way has been written or not, and is not durable.
	 */
	afterKill(random: Random): SimulatedAnchor {
		const state = this.#pending && random.chance(0.5) ? this.#pending : this.#state;
		return new SimulatedAnchor(random, this.#options, {state, durable: this.#durable});
	}

	/** A copy of the anchor's files from another time in its place. */
	withContent(random: Random, state: AnchorState): SimulatedAnchor {
		return new SimulatedAnchor(random, this.#options, {state});
	}

	handlers(step: () => Promise<void>, seal: EnvelopeSealer): Handlers<typeof trustAnchor> {
		const opened = () => {
			if (this.#locked) {
				throw new SessionError('locked', 'the trust anchor is locked');
			}
		};

		const randomBytes = (count: number) => this.#random.bytes(count);
		return {
			access: async () => {
				if (!this.#locked) {
					await this.#settle(step);
				}

				return {state: this.#locked ? 'locked' : this.#state.initialized ? 'open' : 'empty'};
			},
			recipient: () => ({publicKey: new Uint8Array(32)}),
			lock: () => {
				this.#locked = true;
				this.changeCount++;
				return {};
			},
			unlock: async () => {
				await this.#settle(step);
				this.#locked = false;
				this.changeCount++;
				return {};
			},
			status: () => {
				opened();
				return {initialized: this.#state.initialized, secured: this.#state.secured};
			},
			initialize: () => {
				this.#state = {...this.#state, initialized: true};
				this.#durable = this.#state;
				this.changeCount++;
				return {};
			},
			create_key: () => {
				opened();
				return {wrapped: this.#random.bytes(32)};
			},
			share_key: ({wrapped, recipient}) => {
				opened();
				return {envelope: seal(wrapped, recipient, randomBytes)};
			},
			share_inner_key: ({recipient}) => {
				opened();
				return {envelope: seal(innerKey, recipient, randomBytes)};
			},
			authenticate: ({containerId, digest}) => {
				opened();
				this.#state = {...this.#state, marks: {...this.#state.marks, authenticated: true}};
				return {authenticator: authenticatorOf(containerId, digest)};
			},
			verify: ({containerId, digest, authenticator}) => {
				opened();
				return {isAuthentic: authenticatorOf(containerId, digest).equals(authenticator)};
			},
			marks: () => {
				opened();
				return this.#state.marks;
			},
			intend: async ({hash}) => {
				opened();
				if (!this.isOfOldProgram) {
					await this.#write(
						{
							...this.#state,
							marks: {...this.#state.marks, intended: Uint8Array.from(hash), announces: true},
						},
						step,
					);
				}

				return {};
			},
			flush_key: ({hash}) => {
				opened();
				return {key: flushKeyOf(hash)};
			},
			secure: async record => {
				opened();
				const secured = {...record, hash: Uint8Array.from(record.hash)};
				this.onCheckpoint(secured);
				await this.#write(
					{
						...this.#state,
						secured,
						marks: {...this.#state.marks, intended: null, announces: !this.isOfOldProgram},
					},
					step,
					() => {
						this.onSecured(secured);
					},
				);
				return {flushKey: flushKeyOf(secured.hash)};
			},
		};
	}

	/** What the start has read is written once more, and synced, before anybody relies on it. */
	async #settle(step: () => Promise<void>): Promise<void> {
		if (!this.#isSettled && this.#options.settles && this.#durable !== this.#state) {
			this.changeCount++;
			await step();
			this.#durable = this.#state;
			this.changeCount++;
		}

		this.#isSettled = true;
	}

	async #write(next: AnchorState, step: () => Promise<void>, onWritten: () => void = () => undefined): Promise<void> {
		this.#pending = next;
		this.changeCount++;
		await step();
		this.#pending = undefined;
		this.changeCount++;
		const fails = this.#random.chance(this.faultRate);
		const fate = fails ? this.#random.pick(['durable', 'written', 'lost']) : 'durable';
		if (fate !== 'lost') {
			this.#state = next;
			onWritten();
		}

		if (fate === 'durable') {
			this.#durable = next;
		}

		if (fails) {
			throw new SessionError('storage_failed', "simulated error of the anchor's storage");
		}
	}
}
