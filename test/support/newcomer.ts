/**
 * Documents as a newcomer reads them: the blocks in them, a fresh copy of the project, and two terminals to type what
 * is printed.
 */
import {execFileSync, spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {projectFolder} from './runtime-process.js';

/** A block of code of a document. */
export interface Block {
	readonly language: string;
	readonly text: string;
	readonly section: string;
}

export function blocksOf(document: string): Block[] {
	const blocks: Block[] = [];
	let section = '';
	for (const [, heading, language, text] of document.matchAll(/^(?:## (.*)|```(\w*)\n([^]*?)^```)$/gm)) {
		if (heading === undefined) {
			blocks.push({language, text, section});
		} else {
			section = heading;
		}
	}

	return blocks;
}

/** The project's files without what was built or installed, which is lent. */
export function copyProject(to: string): void {
	const names = execFileSync('git', ['ls-files', '-z'], {cwd: projectFolder, encoding: 'utf8'})
		.split('\0')
		.filter(Boolean);
	for (const name of names) {
		mkdirSync(dirname(join(to, name)), {recursive: true});
		cpSync(join(projectFolder, name), join(to, name));
	}

	for (const name of ['node_modules', 'dist']) {
		symlinkSync(join(projectFolder, name), join(to, name));
	}
}

/** A terminal of the newcomer's. Questions on it are answered. */
class Terminal {
	output = '';
	readonly #process: ChildProcess;
	#answeredLength = 0;
	#isOver = false;

	constructor(command: readonly string[], directory: string, path: string) {
		this.#process = spawn(command[0], command.slice(1), {
			cwd: directory,
			env: {...process.env, PATH: path, SHELL: '/bin/bash', CBE_PASSPHRASE: undefined},
			stdio: ['pipe', 'pipe', 'pipe'],
		});
		for (const stream of [this.#process.stdout, this.#process.stderr]) {
			stream?.setEncoding('utf8').on('data', (text: string) => {
				this.output += text;
				this.#answer();
			});
		}

		this.#process.on('close', () => {
			this.#isOver = true;
		});
	}

	get pid(): number | undefined {
		return this.#process.pid;
	}

	async printed(text: string): Promise<void> {
		const end = Date.now() + 240_000;
		while (!this.output.includes(text)) {
			if (this.#isOver || Date.now() > end) {
				throw new Error(`"${text}" was not printed:\n${this.output}`);
			}

			await sleep(50);
		}
	}

	type(text: string): void {
		this.#process.stdin?.write(text);
	}

	async ended(): Promise<number | null> {
		if (!this.#isOver) {
			await once(this.#process, 'close');
		}

		return this.#process.exitCode;
	}

	#answer(): void {
		const asked = this.output.slice(this.#answeredLength);
		if (/(?:Type "yes"|[Pp]assphrase[^\n]*|The same again): $/.test(asked)) {
			this.#answeredLength = this.output.length;
			this.type(asked.endsWith('Type "yes": ') ? 'yes\r' : 'four words of mine\r');
		}
	}
}

/**
 * A newcomer with two terminals: in the first one runtimes run, in the second one everything else. Both have no network
 * but their own.
 */
export class Newcomer {
	readonly #folder: string;
	readonly #path: string;
	readonly #second: Terminal;
	#server: {readonly terminal: Terminal; readonly state: string} | undefined;
	#markCount = 0;

	/** @param folder the project's, in which all commands are given. @param path where programs are found */
	constructor(folder: string, path: string) {
		this.#folder = folder;
		this.#path = path;
		this.#second = new Terminal(['unshare', '--net', 'bash'], folder, path);
		this.#second.type(
			"ip link set lo up\ntrap 'echo \"@failed: $BASH_COMMAND\"' ERR\ntrap 'kill $(jobs -p)' EXIT\n",
		);
	}

	get folder(): string {
		return this.#folder;
	}

	get isServed(): boolean {
		return this.#server !== undefined && existsSync(join(this.#folder, this.#server.state, 'runtime.sock'));
	}

	/** In the first terminal; until it is ready. */
	async serve(command: string): Promise<void> {
		await this.stop();
		const terminal = this.#terminal('bash', '-c', command);
		this.#server = {terminal, state: / --state (\w+)/.exec(command)?.[1] ?? 'var'};
		await terminal.printed('[runtime] ready\n');
	}

	async stop(): Promise<void> {
		if (this.isServed && this.#server) {
			process.kill(Number(readFileSync(join(this.#folder, this.#server.state, 'runtime.lock'), 'utf8')));
		}

		await this.#server?.terminal.ended();
		this.#server = undefined;
	}

	/** In the second terminal. @returns what was printed. @throws Error where a command fails */
	async run(commands: string): Promise<string> {
		const mark = `@done ${++this.#markCount}@`;
		const from = this.#second.output.length;
		this.#second.type(`${commands}\necho '@done' ${this.#markCount}@\n`);
		await this.#second.printed(mark);
		const said = this.#second.output.slice(from);
		if (said.includes('@failed')) {
			throw new Error(`${commands}\n${said}\n${this.#server?.terminal.output ?? ''}`);
		}

		return said;
	}

	/** In a terminal that asks and shows. */
	async answer(commands: string): Promise<string> {
		const script = join(this.#folder, 'questions.sh');
		writeFileSync(script, `set -e\n${commands}`);
		const terminal = this.#terminal('script', '-qfec', 'bash questions.sh', '/dev/null');
		const code = await terminal.ended();
		rmSync(script);
		if (code !== 0) {
			throw new Error(`${commands}\n${terminal.output}`);
		}

		return terminal.output;
	}

	async leave(): Promise<void> {
		await this.stop();
		this.#second.type('exit\n');
		await this.#second.ended();
	}

	/** One more, in the same network. */
	#terminal(...command: string[]): Terminal {
		return new Terminal(
			['nsenter', `--net=/proc/${this.#second.pid}/ns/net`, ...command],
			this.#folder,
			this.#path,
		);
	}
}
