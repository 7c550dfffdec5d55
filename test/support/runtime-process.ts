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
}

/** One run of `runtime WORDS…`. */
export class RuntimeProcess {
	/** Everything printed so far, to standard output and standard error. */
	output = '';
	readonly #process: ChildProcess;
	/** Resolves with the exit code once all output has been read; null where a signal ended the process. */
	readonly ended: Promise<number | null>;
	readonly #waiting = new Set<() => void>();

	constructor(words: readonly string[], {variables, directory}: RuntimeOptions = {}) {
		this.#process = spawn(process.execPath, [program, ...words], {cwd: directory ?? projectFolder, env: {...process.env, ...variables}, stdio: ['ignore', 'pipe', 'pipe']});
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

	/** Waits until `text` has been printed. @throws Error where the process ends before */
	async printed(text: string | RegExp): Promise<void> {
		let over = false;
		void this.ended.then(() => {
			over = true;
		});
		while (!(typeof text === 'string' ? this.output.includes(text) : text.test(this.output))) {
			if (over) {
				throw new Error(`the runtime ended without printing ${String(text)}:\n${this.output}`);
			}

			await Promise.race([this.ended, new Promise<void>(resolve => {
				this.#waiting.add(resolve);
			})]);
		}
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
export async function runRuntime(words: readonly string[], options?: RuntimeOptions): Promise<{code: number | null; output: string}> {
	const run = new RuntimeProcess(words, options);
	const code = await run.ended;
	return {code, output: run.output};
}

/** Starts a deployment and waits until it is ready. */
export async function startRuntime(deployFile: string, stateDirectory: string, options?: RuntimeOptions): Promise<RuntimeProcess> {
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
