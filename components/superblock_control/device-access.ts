/**
 * Who gets at the device: nobody while it is locked. Locking and unlocking, one after the other, and what a trust anchor that was
 * restarted means for it.
 */
import {StartError, type Environment} from '../../runtime/sdk/component.js';
import {isSessionError, SessionError} from '../../runtime/sdk/session.js';
import {Turn} from '../lib/sync/turn.js';
import {DeviceLock, lockedError} from './device-lock.js';
import type {OpenDevice} from './open-device.js';
import type {OpeningServers} from './opening.js';

export class DeviceAccess {
	readonly #anchor: OpeningServers['trust_anchor'];
	readonly #env: Environment;
	/** Opens the device. @throws StartError */
	readonly #open: () => Promise<OpenDevice>;
	readonly #lock = new DeviceLock();
	/** Locking and unlocking, one after the other. */
	readonly #switching = new Turn();
	/** The last locking. */
	#locking: Promise<void> | undefined;
	/** False while keys are there, also where locking has stopped half-way: then the device refuses requests all the same. */
	#areKeysGone = false;
	/** Undefined where the device has been locked since its start. */
	#device: OpenDevice | undefined;

	constructor(anchor: OpeningServers['trust_anchor'], env: Environment, open: () => Promise<OpenDevice>) {
		this.#anchor = anchor;
		this.#env = env;
		this.#open = open;
	}

	/** Opens the device, unless its trust anchor is locked. @throws StartError */
	async begin(): Promise<void> {
		if (await this.#isAnchorLocked()) {
			await this.#lock.close();
			this.#areKeysGone = true;
			this.#env.log('the device is locked: "runtime unlock" asks for the passphrase and serves it', 'warning');
		} else {
			this.#device = await this.#open();
		}
	}

	get isLocked(): boolean {
		return this.#lock.isClosed;
	}

	/** The device, locked or not; undefined where it has been locked since its start. */
	get device(): OpenDevice | undefined {
		return this.#device;
	}

	/** The device, locked or not, for what needs no key. @throws SessionError `locked` where it was never opened */
	known(): OpenDevice {
		if (!this.#device) {
			throw lockedError();
		}

		return this.#device;
	}

	/** Runs a request of the unlocked device; locking waits for it. @throws SessionError `locked` */
	async pass<T>(request: (device: OpenDevice) => Promise<T> | T): Promise<T> {
		this.#lock.enter();
		try {
			return await request(this.known());
		} finally {
			this.#lock.leave();
		}
	}

	/** Secures everything and forgets the keys. */
	async lock(): Promise<void> {
		this.#locking = this.#switching.take(async () => this.#lockDevice());
		await this.#locking;
	}

	/** Opens the trust anchor and goes on. @throws SessionError */
	async unlock(sealed: string | undefined): Promise<void> {
		await this.#switching.take(async () => this.#unlockDevice(sealed));
	}

	/** A trust anchor that was restarted may have come back without its keys. */
	async followAnchor(): Promise<void> {
		await this.#switching.take(async () => {
			if (this.#areKeysGone || !await this.#isAnchorLocked()) {
				return;
			}

			this.#env.log('the trust anchor was restarted and is locked, so the device is, too; "runtime unlock" goes on', 'warning');
			await this.#lock.close();
			await this.known().suspend({secure: false});
			this.#areKeysGone = true;
		});
	}

	/** A crypto server that came back has forgotten its keys; requests to it wait until it has them again. */
	async followCrypto(): Promise<void> {
		if (!this.#lock.isClosed) {
			await this.known().giveKeys();
		}
	}

	async stop(): Promise<void> {
		// One that failed has told its client.
		await this.#locking?.catch(() => undefined);
		if (!this.#areKeysGone) {
			await this.known().suspend({secure: true});
		} else if (this.#device?.isDue) {
			this.#env.log('what was written since the last flush is lost: the trust anchor has no keys to secure it with', 'error');
		}
	}

	async #isAnchorLocked(): Promise<boolean> {
		return (await this.#anchor.access({})).state === 'locked';
	}

	async #lockDevice(): Promise<void> {
		if (this.#areKeysGone) {
			return;
		}

		await this.#lock.close();
		await this.known().suspend({secure: true});
		await this.#anchor.lock({});
		this.#areKeysGone = true;
		this.#env.log('locked: everything is secured, and the keys are forgotten');
	}

	async #unlockDevice(sealed: string | undefined): Promise<void> {
		if (!this.#lock.isClosed) {
			return;
		}

		try {
			await this.#anchor.unlock({sealed});
		} catch (error) {
			throw isSessionError(error) && error.code !== 'wrong_passphrase' && error.code !== 'locked' ? new SessionError('refused', error.message) : error;
		}

		await this.#openLocked();
		this.#areKeysGone = false;
		this.#lock.open();
		this.#env.log('unlocked');
	}

	async #openLocked(): Promise<void> {
		if (this.#device) {
			await this.#device.resume();
			return;
		}

		try {
			this.#device = await this.#open();
		} catch (error) {
			if (!(error instanceof StartError)) {
				throw error;
			}

			await this.#anchor.lock({});
			throw new SessionError('device_failed', error.message);
		}
	}
}
