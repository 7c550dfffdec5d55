/** A trust anchor whose `secure` has either happened or not when the power fails in the middle of it. */
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import type {Secured} from '../../components/container/open-superblock.js';
import type {trustAnchor} from '../../components/sessions/trust-anchor.js';
import {authenticatorOf, innerKey} from '../support/memory-anchor.js';
import type {Random} from './random.js';

/** Makes the envelope that carries a block key to a crypto server. */
export type EnvelopeSealer = (key: Uint8Array, recipient: Uint8Array) => Uint8Array;

interface AnchorState {
	readonly initialized: boolean;
	readonly secured: Secured | null;
}

const blankState: AnchorState = {initialized: false, secured: null};

export class SimulatedAnchor {
	changeCount = 0;
	/** Probability that `secure` fails; whether it was remembered stays open. */
	faultRate = 0;
	/** Called before a record may be remembered. */
	onSecuring: (secured: Secured) => void = () => undefined;
	onSecured: (secured: Secured) => void = () => undefined;
	readonly #random: Random;
	#state: AnchorState;
	#pending: Secured | undefined;
	readonly #locksAtStart: boolean;
	#locked: boolean;

	/** @param locksAtStart after a crash somebody has to unlock it; otherwise whoever starts it again opens it */
	constructor(random: Random, locksAtStart: boolean, state: AnchorState = blankState) {
		this.#random = random;
		this.#state = state;
		this.#locksAtStart = locksAtStart;
		this.#locked = locksAtStart && state.initialized;
	}

	get isLocked(): boolean {
		return this.#locked;
	}

	get secured(): Secured | null {
		return this.#state.secured;
	}

	/** The anchor as it is after the power failed or the process was killed. */
	afterCrash(random: Random): SimulatedAnchor {
		const secured = this.#pending && random.chance(0.5) ? this.#pending : this.#state.secured;
		return new SimulatedAnchor(random, this.#locksAtStart, {...this.#state, secured});
	}

	handlers(step: () => Promise<void>, seal: EnvelopeSealer): Handlers<typeof trustAnchor> {
		const opened = () => {
			if (this.#locked) {
				throw new SessionError('locked', 'the trust anchor is locked');
			}
		};

		return {
			access: () => ({state: this.#locked ? 'locked' : (this.#state.initialized ? 'open' : 'empty')}),
			recipient: () => ({publicKey: new Uint8Array(32)}),
			lock: () => {
				this.#locked = true;
				this.changeCount++;
				return {};
			},
			unlock: () => {
				this.#locked = false;
				this.changeCount++;
				return {};
			},
			status: () => {
				opened();
				return this.#state;
			},
			initialize: () => {
				this.#state = {...this.#state, initialized: true};
				this.changeCount++;
				return {};
			},
			create_key: () => {
				opened();
				return {wrapped: this.#random.bytes(32)};
			},
			share_key: ({wrapped, recipient}) => {
				opened();
				return {envelope: seal(wrapped, recipient)};
			},
			share_inner_key: ({recipient}) => {
				opened();
				return {envelope: seal(innerKey, recipient)};
			},
			authenticate: ({containerId, digest}) => {
				opened();
				return {authenticator: authenticatorOf(containerId, digest)};
			},
			secure: async record => {
				opened();
				await this.#secure(record, step);
				return {};
			},
		};
	}

	async #secure(record: Secured, step: () => Promise<void>): Promise<void> {
		const secured = {...record, hash: Uint8Array.from(record.hash)};
		this.onSecuring(secured);
		this.#pending = secured;
		this.changeCount++;
		await step();
		this.#pending = undefined;
		this.changeCount++;
		const fails = this.#random.chance(this.faultRate);
		if (!fails || this.#random.chance(0.5)) {
			this.#state = {...this.#state, secured};
			this.onSecured(secured);
		}

		if (fails) {
			throw new SessionError('storage_failed', 'simulated error of the anchor\'s storage');
		}
	}
}
