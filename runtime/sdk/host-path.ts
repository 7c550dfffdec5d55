/** Whether a path of the host can be used, found out without making or changing anything. */
import {accessSync, constants, statSync} from 'node:fs';
import {dirname} from 'node:path';

const reasons: Readonly<Record<string, string>> = {
	EACCES: 'this user may not get there',
	ELOOP: 'it is a link that leads to itself',
	ENAMETOOLONG: 'its name is too long',
	ENOTDIR: 'a file is in its way',
};

function codeOf(error: unknown): string {
	return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}

type Use = 'read' | 'write' | 'enter';

const modes: Readonly<Record<Use, number>> = {
	read: constants.R_OK,
	write: constants.W_OK,
	enter: constants.W_OK | constants.X_OK,
};

function whyNotAllowed(path: string, use: Use): string | undefined {
	try {
		accessSync(path, modes[use]);
		return undefined;
	} catch (error) {
		return codeOf(error) === 'EROFS'
			? 'its file system is read-only'
			: `this user may not ${use === 'read' ? 'read' : 'write'} it`;
	}
}

type Found = 'nothing' | 'directory' | 'file';

/** @returns what is there, or why that cannot be seen */
function look(path: string): {readonly found: Found} | {readonly reason: string} {
	try {
		const stat = statSync(path, {throwIfNoEntry: false});
		return {found: stat === undefined ? 'nothing' : stat.isDirectory() ? 'directory' : 'file'};
	} catch (error) {
		const code = codeOf(error);
		return {reason: reasons[code] ?? code};
	}
}

/** Why a file that must be there cannot be read; undefined where it can. */
export function whyUnreadable(path: string): string | undefined {
	const seen = look(path);
	if ('reason' in seen) {
		return seen.reason;
	}

	return seen.found === 'nothing'
		? 'it does not exist'
		: seen.found === 'directory'
			? 'it is a directory'
			: whyNotAllowed(path, 'read');
}

/** Why a file that is there cannot be written; undefined where it can. */
export function whyUnwritable(path: string): string | undefined {
	return whyUnreadable(path) ?? whyNotAllowed(path, 'write');
}

export function exists(path: string): boolean {
	const seen = look(path);
	return !('found' in seen && seen.found === 'nothing');
}

/**
 * Why no file or directory can be made at a path; undefined where it can be, or is there. @param madeBefore a directory
 * that is made with all that leads there before anything is started
 */
export function whyUnmakable(path: string, madeBefore: string): string | undefined {
	if (path === madeBefore) {
		return undefined;
	}

	const folder = dirname(path);
	const seen = look(folder);
	if ('reason' in seen) {
		return `the folder ${folder} cannot be used: ${seen.reason}`;
	}

	if (seen.found === 'nothing') {
		return folder === madeBefore ? undefined : `the folder ${folder} does not exist`;
	}

	if (seen.found === 'file') {
		return `${folder} is no folder`;
	}

	const reason = whyNotAllowed(folder, 'enter');
	return reason && `nothing can be made in the folder ${folder}: ${reason}`;
}

/** The same where everything that leads to the directory is made with it. */
export function whyDirectoryUnmakable(path: string): string | undefined {
	const seen = look(path);
	if ('reason' in seen) {
		return `${path} cannot be used: ${seen.reason}`;
	}

	if (seen.found === 'file') {
		return `${path} is no folder`;
	}

	if (seen.found === 'directory') {
		const reason = whyNotAllowed(path, 'enter');
		return reason && `the folder ${path} cannot be used: ${reason}`;
	}

	return path === dirname(path) ? undefined : whyDirectoryUnmakable(dirname(path));
}
