/** Which errors a client must put up with, and when. */
import {isSessionError} from '../../runtime/sdk/session.js';
import type {LockNote} from './lock-model.js';
import {SimulationFailure} from './simulation-failure.js';
import type {Subject} from './subject.js';

/** True where the device refused the request since it is locked, and may be. */
export function wasLockedOut({lock}: Subject, error: unknown, note: LockNote): boolean {
	return isSessionError(error) && error.code === 'locked' && lock.mayHaveMet(note);
}

/**
 * A request failed: it must have met the lock or, where the medium fails, an error of it. @throws SimulationFailure, or
 * the error itself where it is no answer
 */
export function requireExcuse(subject: Subject, error: unknown, {what, note}: {what: string; note: LockNote}): void {
	if (!isSessionError(error)) {
		throw error;
	}

	const isFault = subject.excuses.includes(error.code);
	if (!isFault && !wasLockedOut(subject, error, note)) {
		throw new SimulationFailure(`${what} failed without a reason: ${error.code}: ${error.message}`);
	}
}
