/** Programs of other projects that system tests run. Where one is missing, its tests are skipped, by name. */
import {execFile} from 'node:child_process';
import {accessSync, constants} from 'node:fs';
import {delimiter, join} from 'node:path';
import {promisify} from 'node:util';
import test, {type ImplementationFn} from 'ava';

const execute = promisify(execFile);

/** Tools for administrators are not on everybody's path. */
const directories = [...(process.env.PATH ?? '').split(delimiter), '/usr/sbin', '/sbin'];

function isUsable(file: string, mode: number): boolean {
	try {
		accessSync(file, mode);
		return true;
	} catch {
		return false;
	}
}

/** What is missing for a test: programs by name, devices by absolute path, `root` for the right to mount. */
export function missingRequirements(requirements: readonly string[]): string[] {
	return requirements.filter(requirement => {
		if (requirement === 'root') {
			return process.getuid?.() !== 0;
		}

		return requirement.startsWith('/')
			? !isUsable(requirement, constants.R_OK | constants.W_OK)
			: !directories.some(directory => isUsable(join(directory, requirement), constants.X_OK));
	});
}

/** A test that runs where everything it needs is there, and counts as skipped elsewhere. */
export function testWith(requirements: readonly string[], title: string, implementation: ImplementationFn<[]>): void {
	const missing = missingRequirements(requirements);
	if (missing.length > 0) {
		test.serial.skip(`${title} (needs ${missing.join(', ')})`, implementation);
	} else {
		test.serial(title, implementation);
	}
}

/** Runs a program to its end and gives what it printed. @throws Error with its output where it fails */
export async function runTool(program: string, words: readonly string[], directory?: string): Promise<string> {
	try {
		const {stdout, stderr} = await execute(program, [...words], {
			cwd: directory,
			maxBuffer: 64 * 2 ** 20,
			env: {...process.env, PATH: directories.join(delimiter)},
		});
		return stdout + stderr;
	} catch (error) {
		const {stdout, stderr} = error as {stdout?: string; stderr?: string};
		throw new Error(`${program} ${words.join(' ')} failed: ${String(error)}\n${stdout ?? ''}${stderr ?? ''}`, {
			cause: error,
		});
	}
}
