/**
 * One runtime per state directory: `runtime.lock` is locked as long as the runtime lives, and holds its process id
 * until it has ended in order.
 */
import {
	closeSync,
	existsSync,
	fsyncSync,
	ftruncateSync,
	mkdirSync,
	openSync,
	readFileSync,
	statSync,
	writeSync,
} from 'node:fs';
import {dirname, join} from 'node:path';
import {StartError} from '../sdk/component.js';
import {LockError, lockFile} from '../sdk/file-lock.js';

export interface StateLock {
	release(): void;
}

const reasons: Readonly<Record<string, string>> = {
	EACCES: 'this user may not write there',
	EPERM: 'this user may not write there',
	EROFS: 'its file system is read-only',
	ENOSPC: 'its file system is full',
	EDQUOT: "the user's quota is used up",
	EEXIST: 'a file is in its place',
	EISDIR: 'a directory is in its place',
	ENOTDIR: 'a file is in its way',
	ENAMETOOLONG: 'its name is too long',
	ENOENT: 'nothing can be made there',
};

function codeOf(error: unknown): string | undefined {
	return error instanceof Error && 'code' in error ? String(error.code) : undefined;
}

function isDirectory(path: string): boolean {
	return statSync(path, {throwIfNoEntry: false})?.isDirectory() ?? false;
}

/** With what leads there. Node's own recursive mkdir never returns below /proc, whose directories take no new ones. */
function makeDirectory(path: string): void {
	try {
		mkdirSync(path, {mode: 0o700});
	} catch (error) {
		if (codeOf(error) === 'EEXIST' && isDirectory(path)) {
			syncParent(path);
			return;
		}

		if (codeOf(error) !== 'ENOENT' || existsSync(dirname(path))) {
			throw error;
		}

		makeDirectory(dirname(path));
		mkdirSync(path, {mode: 0o700});
	}

	syncParent(path);
}

/**
 * Makes the name of a directory durable: nothing in it is before it is, and a run that was cut off may have left it
 * undone. Who may not read the folder above has not made the directory; some file systems sync no directories.
 */
function syncParent(path: string): void {
	let folder;
	try {
		folder = openSync(dirname(path), 'r');
		fsyncSync(folder);
	} catch (error) {
		if (!['EACCES', 'EPERM', 'EROFS', 'EINVAL'].includes(codeOf(error) ?? '')) {
			throw error;
		}
	} finally {
		if (folder !== undefined) {
			closeSync(folder);
		}
	}
}

/** @throws StartError that names the reason */
function usable<T>(what: string, job: () => T): T {
	try {
		return job();
	} catch (error) {
		const code = codeOf(error);
		if (code === undefined) {
			throw error;
		}

		throw new StartError(
			`${what}: ${reasons[code] ?? (error as Error).message}; choose another state directory with --state`,
		);
	}
}

/** In place, and cut off afterwards: where the file system is full, a file that is there already can still be used. */
function writeProcessId(fd: number): void {
	const length = writeSync(fd, `${process.pid}\n`, 0);
	ftruncateSync(fd, length);
}

function openLockFile(path: string): number {
	try {
		return openSync(path, 'r+');
	} catch (error) {
		if (codeOf(error) !== 'ENOENT') {
			throw error;
		}

		return openSync(path, 'a+', 0o600);
	}
}

/** @throws StartError where another runtime holds the directory, with its process id, or it cannot be used */
export function lockStateDirectory(stateDirectory: string): StateLock {
	const path = join(stateDirectory, 'runtime.lock');
	usable(`the state directory ${stateDirectory} cannot be made`, () => {
		makeDirectory(stateDirectory);
	});
	const fd = usable(`${path} cannot be opened`, () => openLockFile(path));
	let isLocked: boolean;
	try {
		isLocked = lockFile(fd);
	} catch (error) {
		closeSync(fd);
		throw error instanceof LockError
			? new StartError(
					`${path} cannot be locked: ${error.message}, or choose another state directory with --state`,
				)
			: error;
	}

	if (!isLocked) {
		const holder = readFileSync(path, 'utf8').trim();
		closeSync(fd);
		throw new StartError(
			`the state directory ${stateDirectory} is in use by the runtime with process id ${holder || '(unknown)'}; stop that one or choose another directory with --state`,
		);
	}

	try {
		usable(`${path} cannot be written`, () => {
			writeProcessId(fd);
		});
	} catch (error) {
		closeSync(fd);
		throw error;
	}

	return {
		release() {
			try {
				// Whoever looks later finds nobody.
				ftruncateSync(fd, 0);
			} finally {
				closeSync(fd);
			}
		},
	};
}
