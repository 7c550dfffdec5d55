/**
 * Whether the device may be used. While it is locked no key is left outside of the trust anchor's files, and requests
 * are refused; what it knows of its trees stays, so that unlocking goes on where locking ended.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import {ReadWriteLock} from '../lib/sync/read-write-lock.js';

export class DeviceLock {
	readonly #lock = new ReadWriteLock('device access');

	get isClosed(): boolean {
		return this.#lock.isClosed;
	}

	/** A request begins; locking waits until it has left. @throws SessionError `locked` */
	enter(): void {
		if (!this.#lock.tryLockShared()) {
			throw lockedError();
		}
	}

	leave(): void {
		this.#lock.unlockShared();
	}

	/** Refuses requests from now on; resolves when those under way have ended. */
	async close(): Promise<void> {
		if (!this.#lock.isClosed) {
			await this.#lock.lockExclusive();
		}
	}

	open(): void {
		this.#lock.unlockExclusive();
	}
}

export function lockedError(): SessionError {
	return new SessionError('locked', 'the device is locked; "runtime unlock" serves it again');
}
