/**
 * A key that the crypto server has not got: it was restarted while the trust anchor gives none, as one does that has
 * come back locked. The request fails before anything has changed, and what was written before stays.
 */
import {isSessionError, SessionError} from '../../runtime/sdk/session.js';
import type {Keys} from './device.js';

/**
 * True where the key is one of those in use. Another one was taken away by a rekeying meanwhile: then the request has
 * to be begun anew.
 */
export function isKeyMissing(error: unknown, {currentKeyId, previousKeyId}: Keys): boolean {
	return (
		isSessionError(error) &&
		error.code === 'unknown_key' &&
		(error.detail.keyId === currentKeyId || error.detail.keyId === previousKeyId)
	);
}

/** The error as the clients of this component know it. */
export function withKnownCode(error: unknown): unknown {
	return isSessionError(error) && error.code === 'unknown_key'
		? new SessionError('device_failed', `the crypto server has no key: ${error.message}`)
		: error;
}

/** Runs a job that needs keys, for a client of this component. */
export async function withKeys<T>(job: () => Promise<T>): Promise<T> {
	try {
		return await job();
	} catch (error) {
		throw withKnownCode(error);
	}
}
