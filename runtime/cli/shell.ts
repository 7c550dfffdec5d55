/** `runtime shell`: the file system of a running device, without mounting it. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join, posix} from 'node:path';
import {createInterface, type Interface} from 'node:readline';
import {exitCode} from './exit-code.js';
import {complain, reasonOf} from './output.js';
import {runShellLine, shellCommands} from './shell-commands.js';
import {ShellUsageError} from './shell-line.js';
import {ShellTree} from './shell-tree.js';

const historyLineCountMax = 500;

function write(text: string | Buffer): void {
	process.stdout.write(text);
}

/** Runs lines until one fails; resolves with the exit code. */
async function runLine(text: string, tree: ShellTree, signal: AbortSignal): Promise<number> {
	try {
		await runShellLine(text, {tree, write, signal});
		return exitCode.ok;
	} catch (error) {
		complain(reasonOf(error));
		return error instanceof ShellUsageError ? exitCode.usage : exitCode.failed;
	}
}

/** What the last word of a line can go on with. */
async function completionsOf(line: string, tree: ShellTree): Promise<[string[], string]> {
	const word = /\S*$/.exec(line)![0];
	if (word === line) {
		return [Object.keys(shellCommands).filter(name => name.startsWith(word)).map(name => `${name} `), word];
	}

	const prefix = /^(?:if=|of=|>)/.exec(word)?.[0] ?? '';
	const path = word.slice(prefix.length);
	const directory = path.endsWith('/') ? path : posix.join(posix.dirname(path), '/');
	const parent = path.includes('/') ? path.slice(0, path.lastIndexOf('/') + 1) : '';
	const entries = await tree.list(directory);
	const candidates = entries.map(({name, kind}) => prefix + parent + name + (kind === 'directory' ? '/' : ' '));
	return [candidates.filter(candidate => candidate.startsWith(word)), word];
}

function loadHistory(file: string): string[] {
	try {
		return readFileSync(file, 'utf8').split('\n').filter(Boolean).slice(0, historyLineCountMax);
	} catch {
		return [];
	}
}

function saveHistory(file: string, lines: readonly string[]): void {
	try {
		writeFileSync(file, `${lines.join('\n')}\n`, {mode: 0o600});
	} catch {
		// A history that cannot be kept is no reason to trouble anybody.
	}
}

function openTerminal(tree: ShellTree, historyFile: string): Interface {
	const terminal = createInterface({
		input: process.stdin,
		output: process.stdout,
		terminal: process.stdin.isTTY && process.stdout.isTTY,
		history: loadHistory(historyFile),
		historySize: historyLineCountMax,
		removeHistoryDuplicates: true,
		completer(line: string, done: (error: Error | null, result: [string[], string]) => void) {
			completionsOf(line, tree).then(result => {
				done(null, result);
			}, () => {
				done(null, [[], line]);
			});
		},
	});
	if (process.stdin.isTTY) {
		terminal.on('history', (lines: string[]) => {
			saveHistory(historyFile, lines);
		});
	}

	return terminal;
}

/** Leaves what was typed on the screen, marked as given up. */
function clearTypedLine(terminal: Interface): void {
	terminal.write(null, {ctrl: true, name: 'e'});
	process.stdout.write('^C\n');
	// Both halves: readline cuts what stands before the cursor, which is all of the line now.
	terminal.write(null, {ctrl: true, name: 'u'});
}

async function interact(tree: ShellTree, historyFile: string): Promise<number> {
	const terminal = openTerminal(tree, historyFile);
	let running: AbortController | undefined;
	let code: number = exitCode.ok;
	const prompt = () => {
		// Nobody reads a prompt in a pipe, and what reads the output would find it there.
		if (process.stdin.isTTY) {
			terminal.setPrompt(`cbe:${tree.directory}> `);
			terminal.prompt();
		}
	};

	terminal.on('SIGINT', () => {
		if (running) {
			running.abort();
		} else {
			// As in other shells: what was typed is given up, and the shell stays. Ctrl-D or "exit" leaves it.
			clearTypedLine(terminal);
			prompt();
		}
	});

	prompt();
	for await (const line of terminal) {
		if (line.trim() === 'exit') {
			break;
		}

		running = new AbortController();
		code = await runLine(line, tree, running.signal);
		running = undefined;
		prompt();
	}

	terminal.close();
	// Somebody at a terminal has seen what failed.
	return process.stdin.isTTY ? exitCode.ok : code;
}

/** @param command one line to run; undefined for a shell that reads lines */
export async function shell(command: string | undefined, stateDirectory: string): Promise<number> {
	const tree = new ShellTree(stateDirectory);
	if (command === undefined) {
		await tree.list('/');
		return interact(tree, join(stateDirectory, 'shell_history'));
	}

	const interruption = new AbortController();
	process.once('SIGINT', () => {
		interruption.abort();
	});
	return runLine(command, tree, interruption.signal);
}
