/** Lines for the user: what was asked for goes to standard output, complaints go to standard error. */
import {withOpenFilesMax} from '../sdk/open-files.js';

export function print(line: string): void {
	process.stdout.write(`${line}\n`);
}

export function complain(line: string): void {
	process.stderr.write(`${line}\n`);
}

/** Users are shown reasons, not stack traces. */
export function reasonOf(error: unknown): string {
	return withOpenFilesMax(error instanceof Error ? error.message : String(error));
}
