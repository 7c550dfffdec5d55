/** README.md and the pages of docs/ as a newcomer uses them: every command as it is printed, in a fresh copy whose path has a blank; every example wired. */
import {execFileSync, spawn, type ChildProcess} from 'node:child_process';
import {once} from 'node:events';
import {chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync} from 'node:fs';
import {dirname, join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, withFolder} from '../support/runtime-process.js';

/** Those that are read from the beginning to the end; in all others each section begins anew. */
const tours = ['README.md', 'docs/tour.md'];
const documents = [...tours, 'docs/rewiring.md', 'docs/keys.md', 'docs/snapshots-and-growth.md'];

interface Block {
	readonly language: string;
	readonly text: string;
	readonly document: string;
	/** What its commands go on from, in words. */
	readonly stretch: string;
}

function blocksOf(document: string): Block[] {
	const blocks: Block[] = [];
	let stretch = document;
	for (const [, heading, language, text] of readFileSync(join(projectFolder, document), 'utf8').matchAll(/^(?:## (.*)|```(\w+)\n([^]*?)^```)$/gm)) {
		if (heading === undefined) {
			blocks.push({language, text, document, stretch});
		} else if (!tours.includes(document)) {
			stretch = `${document}: ${heading}`;
		}
	}

	return blocks;
}

const blocks = documents.flatMap(document => blocksOf(document));

/** The project's files without what was built or installed, which is lent. */
function copyProject(to: string): void {
	const names = execFileSync('git', ['ls-files', '-z'], {cwd: projectFolder, encoding: 'utf8'}).split('\0').filter(Boolean);
	for (const name of names) {
		mkdirSync(dirname(join(to, name)), {recursive: true});
		cpSync(join(projectFolder, name), join(to, name));
	}

	for (const name of ['node_modules', 'dist']) {
		symlinkSync(join(projectFolder, name), join(to, name));
	}
}

/** Stands for `npm ci`, which has been run where tests run. */
function lendNpm(folder: string): string {
	mkdirSync(folder);
	writeFileSync(join(folder, 'npm'), '#!/bin/sh\n[ "$*" = ci ]\n');
	chmodSync(join(folder, 'npm'), 0o755);
	return folder;
}

/** A terminal of the newcomer's. Questions on it are answered. */
class Terminal {
	output = '';
	readonly #process: ChildProcess;
	#answeredLength = 0;
	#isOver = false;

	constructor(command: readonly string[], directory: string, path: string) {
		this.#process = spawn(command[0], command.slice(1), {cwd: directory, env: {...process.env, PATH: path, SHELL: '/bin/bash', CBE_PASSPHRASE: undefined}, stdio: ['pipe', 'pipe', 'pipe']});
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

/** A newcomer with two terminals: in the first one runtimes run, in the second one everything else. */
class Newcomer {
	readonly #folder: string;
	readonly #path: string;
	readonly #second: Terminal;
	#server: {readonly terminal: Terminal; readonly state: string} | undefined;
	#markCount = 0;

	constructor(folder: string, path: string) {
		this.#folder = folder;
		this.#path = path;
		this.#second = new Terminal(['bash'], folder, path);
		this.#second.type('trap \'echo "@failed: $BASH_COMMAND"\' ERR\n');
	}

	get isServed(): boolean {
		return this.#server !== undefined && existsSync(join(this.#folder, this.#server.state, 'runtime.sock'));
	}

	/** In the first terminal; until it is ready. */
	async serve(command: string): Promise<void> {
		await this.stop();
		const terminal = new Terminal(['bash', '-c', command], this.#folder, this.#path);
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
		const terminal = new Terminal(['script', '-qfec', 'bash questions.sh', '/dev/null'], this.#folder, this.#path);
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
}

/** Commands that the reader is asked something by. */
const asking = /^npx runtime (?:key add|unlock)/m;

const requirements = ['root', '/dev/fuse', 'git', 'script', 'npx', 'nbdinfo', 'nbdcopy', 'nbdfuse', 'qemu-io', 'fusermount3', 'mkfs.ext4'];

testWith(requirements, `every command of ${documents.join(', ')} runs as it is printed`, async t => {
	t.timeout(1_800_000);
	await withFolder(async place => {
		const folder = join(place, 'a fresh copy');
		mkdirSync(folder);
		copyProject(folder);
		const newcomer = new Newcomer(folder, `${lendNpm(join(place, 'bin'))}:${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`);
		const said: string[] = [];
		try {
			let stretch = '';
			for (const block of blocks.filter(({language}) => language === 'sh')) {
				if (block.stretch !== stretch) {
					await newcomer.stop();
					await newcomer.run('rm -rf var');
				}

				({stretch} = block);
				if (/^(?:npm ci && )?npx runtime start(?: [^|&]*)?\n$/.test(block.text)) {
					await newcomer.serve(block.text);
					continue;
				}

				if (!tours.includes(block.document) && !newcomer.isServed) {
					await newcomer.serve('npx runtime start');
				}

				said.push(await (asking.test(block.text) ? newcomer.answer(block.text) : newcomer.run(block.text)));
			}

			const all = said.join('\n');
			t.regex(all, /child "cbe_check" exited with exit value 0: no fault found/);
			t.is(all.match(/^refused$/gm)?.length, 2);
			t.regex(all, /failed to start: rolled back: the image holds generation/);
			t.regex(all, /rekeying: done/);
		} finally {
			await newcomer.leave();
		}
	});
});

/** The deployment with the elements of an example: in place of those of their names, or added. */
function wired(deployment: string, example: string): string {
	let edited = deployment;
	for (const [element, name] of example.matchAll(/<start name="(\w+)"[^]*?<\/start>/g)) {
		const old = new RegExp(`<start name="${name}"[^]*?</start>`);
		edited = old.test(edited) ? edited.replace(old, element) : `${edited.slice(0, edited.lastIndexOf('</config>'))}${element}\n</config>\n`;
	}

	return edited;
}

const examples = blocks.filter(({language, document, text}) => language === 'xml' && document === 'docs/rewiring.md' && text.includes('<start name='));

for (const [i, {text}] of examples.entries()) {
	const [, name] = /<start name="(\w+)"/.exec(text) ?? [];
	test(`the example of docs/rewiring.md with "${name}" (${i + 1} of ${examples.length}) is right`, async t => {
		const deployment = readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');
		const parts = {free_tree_a: 'two_devices', cache_outer: 'stacked'};
		if (Object.hasOwn(parts, name)) {
			const file = readFileSync(join(projectFolder, `config/assemblies/${parts[name as keyof typeof parts]}.xml`), 'utf8');
			const bare = (xml: string) => xml.trim().replaceAll(/>\s+</g, '><');
			t.true(bare(file).includes(bare(text)));
			return;
		}

		await withFolder(async folder => {
			const space = text.includes('xpos=') ? '<affinity-space width="2" height="1"/>' : '';
			const file = join(folder, 'my.xml');
			writeFileSync(file, wired(deployment.replace(/<config xmlns[^>]*>/, start => start + space), text));
			const {code, output} = await runRuntime(['check', file, '--state', join(folder, 'state')]);
			t.is(code, 0, output);
			t.regex(output, new RegExp(`^${name} `, 'm'));
		});
	});
}
