/**
 * Whether the device may be used. While it is locked no key is left outside of the trust anchor's files, and requests
 * are refused; what it knows of its trees stays, so that unlocking goes on where locking ended.
 */
import {SessionError} from '../../runtime/sdk/session.js';

export class DeviceLock {
	#isClosed = false;
	#insideCount = 0;
	#onEmpty: (() => void) | undefined;

	get isClosed(): boolean {
		return this.#isClosed;
	}

	/** A request begins; locking waits until it has left. @throws SessionError `locked` */
	enter(): void {
		if (this.#isClosed) {
			throw lockedError();
		}

		this.#insideCount++;
	}

	leave(): void {
		this.#insideCount--;
		if (this.#insideCount === 0) {
			this.#onEmpty?.();
		}
	}

	/** Refuses requests from now on; resolves when those under way have ended. */
	async close(): Promise<void> {
		this.#isClosed = true;
		if (this.#insideCount > 0) {
			await new Promise<void>(resolve => {
				this.#onEmpty = resolve;
			});
			this.#onEmpty = undefined;
		}
	}

	open(): void {
		this.#isClosed = false;
	}
}

export function lockedError(): SessionError {
	return new SessionError('locked', 'the device is locked; "runtime unlock" serves it again');
}
