/** How many files the system lets this process have open at once, and what to say where that is too few. */
import {readdirSync, readFileSync} from 'node:fs';

/** Undefined where the system does not tell. */
export function openFilesMax(): number | undefined {
	try {
		const count = Number(/^Max open files\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))?.[1]);
		return Number.isInteger(count) ? count : undefined;
	} catch {
		return undefined;
	}
}

/** Undefined where it cannot be told, as with no descriptor left to look with. */
export function openFileCount(): number | undefined {
	try {
		// Looking takes one itself.
		return readdirSync('/proc/self/fd').length - 1;
	} catch {
		return undefined;
	}
}

/** What raises the limit to `count`. */
export function moreOpenFiles(count: number): string {
	return `raise the limit: "ulimit -n ${count}" in the shell, or LimitNOFILE= of a systemd unit`;
}

const ample = 4096;

/** Read at the start: with no descriptor left it could not be read any more. */
const max = openFilesMax();

/** The message of an error, with the limit where that is what it is about. */
export function withOpenFilesMax(message: string): string {
	return /\b(?:EMFILE|ENFILE)\b/.test(message) && !message.includes('ulimit')
		? `${message}: this process may have ${max ?? 'no more'} files open at once, and has them; ${moreOpenFiles(Math.max(ample, 4 * (max ?? 0)))}`
		: message;
}
