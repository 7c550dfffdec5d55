/** What the host's operating system reports, in the words of the block session. */
import {withOpenFilesMax} from '../../runtime/sdk/open-files.js';
import {SessionError} from '../../runtime/sdk/session.js';

/** The host has no room: its file system, the user's quota, or the largest file it can hold. */
const noSpaceCodes = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export function isHostError(error: unknown): error is NodeJS.ErrnoException {
	return error instanceof Error && 'code' in error && 'syscall' in error;
}

/** Turns a failed system call into a session error; anything else is a bug and thrown as it is. */
export function hostFault(error: unknown, action: string, path: string): SessionError {
	if (!isHostError(error)) {
		throw error;
	}

	const code = noSpaceCodes.has(error.code ?? '') ? 'no_space' : 'device_failed';
	return new SessionError(code, withOpenFilesMax(`${action} ${path} failed: ${error.message}`), {errno: error.code});
}
