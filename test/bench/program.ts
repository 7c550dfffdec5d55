/** Programs of other projects that the bench runs. Outside of a test run, so without the test runner's skipping. */
import {execFile, type ChildProcess} from 'node:child_process';
import {accessSync, constants} from 'node:fs';
import {delimiter, join} from 'node:path';
import {promisify} from 'node:util';

const execute = promisify(execFile);
const outputByteLengthMax = 64 * 2 ** 20;

const running = new Set<ChildProcess>();

/** Ends the programs that run now. */
export function killPrograms(): void {
	for (const child of running) {
		child.kill('SIGKILL');
	}
}

function isExecutable(file: string): boolean {
	try {
		accessSync(file, constants.X_OK);
		return true;
	} catch {
		return false;
	}
}

export function missingPrograms(names: readonly string[]): string[] {
	const directories = (process.env.PATH ?? '').split(delimiter);
	return names.filter(name => !directories.some(directory => isExecutable(join(directory, name))));
}

/**
 * Runs a program to its end and gives what it printed to standard output. @throws Error with its output where it fails
 */
export async function runProgram(
	program: string,
	words: readonly string[],
	directory: string,
	variables: Readonly<Record<string, string>> = {},
): Promise<string> {
	const run = execute(program, [...words], {
		cwd: directory,
		env: {...process.env, ...variables},
		maxBuffer: outputByteLengthMax,
	});
	running.add(run.child);
	try {
		const {stdout} = await run;
		return stdout;
	} catch (error) {
		const {stdout, stderr} = error as {stdout?: string; stderr?: string};
		throw new Error(`${program} failed: ${stderr ?? ''}${stdout ?? ''}`, {cause: error});
	} finally {
		running.delete(run.child);
	}
}
