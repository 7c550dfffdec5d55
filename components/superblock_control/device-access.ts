/**
 * Who gets at the device: nobody while it is locked. Locking and unlocking, one after the other, and what a trust
 * anchor that was restarted means for it.
 */
import {StartError, type Environment} from '../../runtime/sdk/component.js';
import {isSessionError, SessionError} from '../../runtime/sdk/session.js';
import {lockWatch} from '../lib/sync/lock-order.js';
import {Mutex} from '../lib/sync/mutex.js';
import type {CryptoKeys} from './crypto-keys.js';
import {DeviceLock, lockedError} from './device-lock.js';
import type {OpenDevice} from './open-device.js';
import type {OpeningServers} from './opening.js';

export interface DeviceAccessParts {
	readonly anchor: OpeningServers['trust_anchor'];
	readonly keys: CryptoKeys;
	readonly env: Environment;
	/** Opens the device, and gives its keys. @throws StartError */
	open(): Promise<OpenDevice>;
}

export class DeviceAccess {
	readonly #parts: DeviceAccessParts;
	readonly #lock = new DeviceLock();
	/** Locking and unlocking, one after the other. */
	readonly #switchMutex = new Mutex('device switch');
	/** The last locking. */
	#locking: Promise<void> | undefined;
	/**
	 * False while keys may be there, also where locking or unlocking has stopped half-way: then the device refuses
	 * requests all the same.
	 */
	#areKeysGone = false;
	/** Undefined where the device has been locked since its start. */
	#device: OpenDevice | undefined;

	constructor(parts: DeviceAccessParts) {
		this.#parts = parts;
	}

	/** Opens the device, unless its trust anchor is locked. @throws StartError */
	async begin(): Promise<void> {
		if (await this.#isAnchorLocked()) {
			await this.#lock.close();
			this.#areKeysGone = true;
			this.#parts.env.log(
				'the device is locked: "runtime unlock" asks for the passphrase and serves it',
				'warning',
			);
		} else {
			this.#device = await this.#parts.open();
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
			return await (lockWatch
				? lockWatch.holding('device access', () => request(this.known()))
				: request(this.known()));
		} finally {
			this.#lock.leave();
		}
	}

	/** Secures everything and forgets the keys. */
	async lock(): Promise<void> {
		this.#locking = this.#switchMutex.run(async () => this.#lockDevice());
		await this.#locking;
	}

	/** Opens the trust anchor and goes on. @throws SessionError */
	async unlock(sealed: string | undefined): Promise<void> {
		await this.#switchMutex.run(async () => this.#unlockDevice(sealed));
	}

	/** A trust anchor that was restarted may have come back without its keys. */
	async followAnchor(): Promise<void> {
		await this.#switchMutex.run(async () => {
			if (this.#areKeysGone || !(await this.#isAnchorLocked())) {
				return;
			}

			this.#parts.env.log(
				'the trust anchor was restarted and is locked, so the device is, too; "runtime unlock" goes on',
				'warning',
			);
			await this.#lock.close();
			await this.#putToRest({secure: false});
			this.#areKeysGone = true;
		});
	}

	async stop(): Promise<void> {
		// One that failed has told its client.
		await this.#locking?.catch(() => undefined);
		if (!this.#areKeysGone) {
			await this.#putToRest({secure: true});
		} else if (this.#device?.isDue) {
			this.#parts.env.log(
				'what was written since the last flush is lost: the trust anchor has no keys to secure it with',
				'error',
			);
		}
	}

	async #isAnchorLocked(): Promise<boolean> {
		return (await this.#parts.anchor.access({})).state === 'locked';
	}

	async #lockDevice(): Promise<void> {
		if (this.#areKeysGone) {
			return;
		}

		await this.#lock.close();
		await this.#putToRest({secure: true});
		await this.#parts.anchor.lock({});
		this.#areKeysGone = true;
		this.#parts.env.log('locked: everything is secured, and the keys are forgotten');
	}

	/**
	 * Only with no request under way. Where the keys have been taken away, and what followed has failed, nothing is
	 * left to secure.
	 */
	async #putToRest({secure}: {readonly secure: boolean}): Promise<void> {
		const {keys} = this.#parts;
		if (keys.areWanted) {
			await this.#device?.suspend({secure});
			await keys.takeAll();
		}
	}

	async #unlockDevice(sealed: string | undefined): Promise<void> {
		if (!this.#lock.isClosed) {
			return;
		}

		const {anchor, env} = this.#parts;
		try {
			await anchor.unlock({sealed});
		} catch (error) {
			throw isSessionError(error) && error.code !== 'wrong_passphrase' && error.code !== 'locked'
				? new SessionError('refused', error.message)
				: error;
		}

		this.#areKeysGone = false;
		try {
			await this.#openLocked();
		} catch (error) {
			await this.#lockAgain();
			throw failureOfOpening(error);
		}

		this.#lock.open();
		env.log('unlocked');
	}

	async #openLocked(): Promise<void> {
		if (this.#device) {
			await this.#device.resume();
		} else {
			this.#device = await this.#parts.open();
		}
	}

	/** What an unlocking that failed has brought goes again. What waits to be secured goes on waiting. */
	async #lockAgain(): Promise<void> {
		await this.#putToRest({secure: false});
		await this.#parts.anchor.lock({});
		this.#areKeysGone = true;
	}
}

/** As the client of an unlocking is told of it. */
function failureOfOpening(error: unknown): unknown {
	return error instanceof StartError || (isSessionError(error) && error.code !== 'locked')
		? new SessionError('device_failed', error.message)
		: error;
}
