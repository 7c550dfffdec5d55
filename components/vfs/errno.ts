/** Failures as the kernel and its callers know them. */
import {isSessionError} from '../../runtime/sdk/session.js';

/** Numbers of Linux on all architectures. */
export const errno = {
	/** Not permitted. */
	EPERM: 1,
	ENOENT: 2,
	EINTR: 4,
	EIO: 5,
	/** Nothing is there to be found. */
	ENXIO: 6,
	EAGAIN: 11,
	EACCES: 13,
	EBUSY: 16,
	ENODEV: 19,
	ENOTDIR: 20,
	EISDIR: 21,
	EINVAL: 22,
	ENOTTY: 25,
	ENOSPC: 28,
	EROFS: 30,
	ENOSYS: 38,
	EPROTO: 71,
	EOPNOTSUPP: 95,
	ESHUTDOWN: 108,
	/** What the handle or the name stood for is gone. */
	ESTALE: 116,
	/** The device is locked. */
	ENOKEY: 126,
	/** The passphrase is wrong. */
	EKEYREJECTED: 129,
} as const;

export type ErrnoName = keyof typeof errno;

/** A request that cannot be served, for a reason that its caller can understand. */
export class FileError extends Error {
	override readonly name = 'FileError';

	constructor(
		readonly code: ErrnoName,
		message: string,
	) {
		super(message);
	}
}

const namesOfCodes: Readonly<Record<string, ErrnoName>> = {
	no_space: 'ENOSPC',
	out_of_range: 'EINVAL',
	read_only: 'EROFS',
	refused: 'EBUSY',
	unknown_snapshot: 'ESTALE',
	invalid_name: 'EINVAL',
	locked: 'ENOKEY',
	wrong_passphrase: 'EKEYREJECTED',
};

/** Undefined for what is no failure but a bug. */
export function errnoNameOf(error: unknown): ErrnoName | undefined {
	if (error instanceof FileError) {
		return error.code;
	}

	return isSessionError(error) ? (namesOfCodes[error.code] ?? 'EIO') : undefined;
}
