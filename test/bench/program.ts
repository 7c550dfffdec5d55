/** Programs of other projects that the bench runs. Outside of a test run, so without the test runner's skipping. */
import {execFile} from 'node:child_process';
import {accessSync, constants} from 'node:fs';
import {delimiter, join} from 'node:path';
import {promisify} from 'node:util';

const execute = promisify(execFile);
const outputByteLengthMax = 64 * 2 ** 20;

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

/** Runs a program to its end and gives what it printed to standard output. @throws Error with its output where it fails */
export async function runProgram(program: string, words: readonly string[], directory: string): Promise<string> {
	try {
		const {stdout} = await execute(program, [...words], {cwd: directory, maxBuffer: outputByteLengthMax});
		return stdout;
	} catch (error) {
		const {stdout, stderr} = error as {stdout?: string; stderr?: string};
		throw new Error(`${program} failed: ${stderr ?? ''}${stdout ?? ''}`, {cause: error});
	}
}
