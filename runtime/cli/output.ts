/** Lines for the user: what was asked for goes to standard output, complaints go to standard error. */

export function print(line: string): void {
	process.stdout.write(`${line}\n`);
}

export function complain(line: string): void {
	process.stderr.write(`${line}\n`);
}

/** Users are shown reasons, not stack traces. */
export function reasonOf(error: unknown): string {
	if (error instanceof Error && 'code' in error && (error.code === 'EMFILE' || error.code === 'ENFILE')) {
		return `too many files are open (${error.code}); raise the limit of this process, such as "ulimit -n 4096" in the shell`;
	}

	return error instanceof Error ? error.message : String(error);
}
