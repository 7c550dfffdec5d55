/** Runs programs of the system without blocking this thread, which may have to serve them. */
import {spawn, type StdioOptions} from 'node:child_process';
import {once} from 'node:events';

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

/** @param stdio what the program gets as descriptors 3 and so on */
export async function runProgram(name: string, words: readonly string[], {descriptors = [], variables = {}}: {
	descriptors?: readonly number[]; variables?: Readonly<Record<string, string>>;
} = {}): Promise<ProgramEnd> {
	const stdio: StdioOptions = ['ignore', 'ignore', 'pipe', ...descriptors];
	const child = spawn(name, [...words], {stdio, env: {...helperEnvironment(), ...variables}, cwd: '/'});
	let message = '';
	child.stderr?.setEncoding('utf8').on('data', (text: string) => {
		message = (message + text).slice(0, messageLengthMax);
	});
	try {
		const [code] = await once(child, 'close') as [number | null];
		return {ok: code === 0, message: message.trim().replaceAll('\n', '; ') || `${name} ended with ${String(code)}`};
	} catch (error) {
		return {ok: false, message: error instanceof Error ? error.message : String(error)};
	}
}
