/** Runs programs of the system without blocking this thread, which may have to serve them. */
import {spawn, type StdioOptions} from 'node:child_process';
import {once} from 'node:events';
import {withOpenFilesMax} from '../../runtime/sdk/open-files.js';

export interface ProgramEnd {
	readonly ok: boolean;
	/** What it complained about, in one line. */
	readonly message: string;
}

/** What a helper gets of the environment: nothing that is somebody's secret. */
export function helperEnvironment(): Record<string, string> {
	return {PATH: process.env['PATH'] ?? '/usr/bin:/bin:/usr/sbin:/sbin', LC_ALL: 'C'};
}

const messageLengthMax = 500;

/** Which package brings a program, by Debian's names. */
const packages: Readonly<Record<string, string>> = {fusermount3: 'fuse3', mount: 'mount', umount: 'mount'};

/** How somebody gets a program that is missing. */
export function installation(name: string): string {
	return `install it (Debian: apt install ${packages[name] ?? name})`;
}

function whyNotRun(name: string, error: unknown): string {
	const code = error instanceof Error && 'code' in error ? error.code : undefined;
	switch (code) {
		case 'ENOENT': {
			return `the program ${name} is missing; ${installation(name)}`;
		}

		case 'EACCES': {
			return `this user may not run the program ${name}`;
		}

		default: {
			return withOpenFilesMax(
				`the program ${name} cannot be started: ${error instanceof Error ? error.message : String(error)}`,
			);
		}
	}
}

/** @param stdio what the program gets as descriptors 3 and so on */
export async function runProgram(
	name: string,
	words: readonly string[],
	{
		descriptors = [],
		variables = {},
	}: {
		descriptors?: readonly number[];
		variables?: Readonly<Record<string, string>>;
	} = {},
): Promise<ProgramEnd> {
	const stdio: StdioOptions = ['ignore', 'ignore', 'pipe', ...descriptors];
	const child = spawn(name, [...words], {stdio, env: {...helperEnvironment(), ...variables}, cwd: '/'});
	let message = '';
	child.stderr?.setEncoding('utf8').on('data', (text: string) => {
		message = (message + text).slice(0, messageLengthMax);
	});
	try {
		const [code] = (await once(child, 'close')) as [number | null];
		return {ok: code === 0, message: message.trim().replaceAll('\n', '; ') || `${name} ended with ${String(code)}`};
	} catch (error) {
		return {ok: false, message: whyNotRun(name, error)};
	}
}
