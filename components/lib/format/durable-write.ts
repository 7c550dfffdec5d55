/** A durable write, in two steps: its writing, and the sync that follows. */
import {SessionError} from '../../../runtime/sdk/session.js';

/**
 * A durable write, for providers that write and sync in two steps, at once or later. Where the first one fails the
 * error says so.
 * @throws SessionError
 */
export async function writeDurably(write: () => unknown, sync: () => unknown): Promise<{isDurable: true}> {
	try {
		await write();
	} catch (error) {
		throw error instanceof SessionError
			? new SessionError(error.code, error.message, {...error.detail, isBeforeSync: true})
			: error;
	}

	await sync();
	return {isDurable: true};
}

/** True where a durable write failed before anything was synced. */
export function isBeforeSync(error: unknown): error is SessionError {
	return error instanceof SessionError && error.detail.isBeforeSync === true;
}
