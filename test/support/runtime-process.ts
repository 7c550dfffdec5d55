/** The real program as a child process: what it prints, how it ends. */
import {spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {mkdtempSync, rmSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';

/** The project's folder. */
export const projectFolder = fileURLToPath(new URL('../../../', import.meta.url));
const program = join(projectFolder, 'runtime/bin/runtime.js');

export interface RuntimeOptions {
	/** Variables beside those of the test. */
	readonly variables?: Readonly<Record<string, string>>;
	/** The current directory; the project's folder unless given. */
	readonly directory?: string;
	/** What can be read from file descriptor 3, a pipe. */
	readonly descriptor3?: string;
	/** What can be read from its standard input, a pipe, also where everything else is a terminal. */
	readonly input?: string;
	/** How many files it may have open at once. */
	readonly openFilesMax?: number;
	/** True where the program shall run on a terminal, through util-linux's `script`. */
	readonly terminal?: boolean;
}

/** As one word of a shell. */
function quoted(word: string): string {
	return `'${word.replaceAll("'", "'\\''")}'`;
}

/** One run of `runtime WORDS…`. */
export class RuntimeProcess {
	/** Everything printed so far, to standard output and standard error. */
	output = '';
	readonly #process: ChildProcess;
	/** Resolves with the exit code once all output has been read; null where a signal ended the process. */
	readonly ended: Promise<number | null>;
	readonly #waiting = new Set<() => void>();
	/** How much of the output was there when something was typed last. */
	#answeredLength = 0;

	constructor(
		words: readonly string[],
		{variables, directory, descriptor3, input, openFilesMax, terminal = false}: RuntimeOptions = {},
	) {
		const limited = openFilesMax === undefined ? [] : ['sh', '-c', `ulimit -n ${openFilesMax} && exec "$@"`, 'sh'];
		const command = [...limited, process.execPath, program, ...words];
		const line = command.map(word => quoted(word)).join(' ');
		const piped = input === undefined ? undefined : `printf %s "$PIPED" | ${line}`;
		const [file, ...parameters] = terminal
			? ['script', '-qfec', piped ?? `exec ${line}`, '/dev/null']
			: descriptor3 === undefined
				? piped === undefined
					? command
					: ['sh', '-c', piped]
				: ['sh', '-c', `printf %s "$PIPED" | ${line} 3<&0 </dev/null`];
		this.#process = spawn(file, parameters, {
			cwd: directory ?? projectFolder,
			env: {
				...process.env,
				...variables,
				...(terminal && {SHELL: '/bin/sh'}),
				...((input ?? descriptor3) !== undefined && {PIPED: input ?? descriptor3}),
			},
			stdio: [terminal ? 'pipe' : 'ignore', 'pipe', 'pipe'],
		});
		for (const stream of [this.#process.stdout, this.#process.stderr]) {
			stream?.setEncoding('utf8').on('data', (text: string) => {
				this.output += text;
				this.#wake();
			});
		}

		this.ended = once(this.#process, 'close').then(([code]) => {
			this.#wake();
			return code as number | null;
		});
	}

	get pid(): number {
		return this.#process.pid ?? -1;
	}

	/** Waits until `text` has been printed, behind `from`. @throws Error where the process ends before */
	async printed(text: string | RegExp, from = 0): Promise<void> {
		let over = false;
		void this.ended.then(() => {
			over = true;
		});
		while (!(typeof text === 'string' ? this.output.includes(text, from) : text.test(this.output.slice(from)))) {
			if (over) {
				throw new Error(`the runtime ended without printing ${String(text)}:\n${this.output}`);
			}

			await Promise.race([
				this.ended,
				new Promise<void>(resolve => {
					this.#waiting.add(resolve);
				}),
			]);
		}
	}

	/** On a terminal: waits for a question and types the answer. */
	async answer(question: string | RegExp, text: string): Promise<void> {
		await this.printed(question, this.#answeredLength);
		this.#answeredLength = this.output.length;
		this.#process.stdin?.write(text);
	}

	/** Sends a signal and waits for the end. */
	async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
		this.#process.kill(signal);
		return this.ended;
	}

	#wake(): void {
		for (const resolve of this.#waiting) {
			resolve();
		}

		this.#waiting.clear();
	}
}

/** Runs `runtime WORDS…` to its end. */
export async function runRuntime(
	words: readonly string[],
	options?: RuntimeOptions,
): Promise<{code: number | null; output: string}> {
	const run = new RuntimeProcess(words, options);
	const code = await run.ended;
	return {code, output: run.output};
}

/** Starts a deployment and waits until it is ready. */
export async function startRuntime(
	deployFile: string,
	stateDirectory: string,
	options?: RuntimeOptions,
): Promise<RuntimeProcess> {
	const run = new RuntimeProcess(['start', deployFile, '--state', stateDirectory], options);
	await run.printed('[runtime] ready\n');
	return run;
}

/** Calls `use` with a folder that is gone afterwards. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
	const folder = mkdtempSync(join(tmpdir(), 'cbe-'));
	try {
		return await use(folder);
	} finally {
		rmSync(folder, {recursive: true, force: true});
	}
}
