/** `runtime shell`: the file system of a running device, without mounting it. */
import {join, posix} from 'node:path';
import {createInterface, type Interface} from 'node:readline';
import {isatty} from 'node:tty';
import {exitCode} from './exit-code.js';
import {complain, reasonOf} from './output.js';
import {runShellLine, shellCommands, type ShellContext} from './shell-commands.js';
import {ShellHistory, historyLineCountMax, mayBeKept} from './shell-history.js';
import {ShellUsageError} from './shell-line.js';
import {ShellTree} from './shell-tree.js';
import {askSecret, isInteractive} from './terminal-prompt.js';

function write(text: string | Buffer): void {
	process.stdout.write(text);
}

/** Runs lines until one fails; resolves with the exit code. */
async function runLine(
	text: string,
	context: Pick<ShellContext, 'tree' | 'signal' | 'ask' | 'isArgument'>,
): Promise<number> {
	try {
		await runShellLine(text, {...context, write, notice: complain});
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
		return [
			Object.keys(shellCommands)
				.filter(name => name.startsWith(word))
				.map(name => `${name} `),
			word,
		];
	}

	const prefix = /^(?:if=|of=|>)/.exec(word)?.[0] ?? '';
	const path = word.slice(prefix.length);
	const directory = path.endsWith('/') ? path : posix.join(posix.dirname(path), '/');
	const parent = path.includes('/') ? path.slice(0, path.lastIndexOf('/') + 1) : '';
	const entries = await tree.list(directory);
	const candidates = entries.map(({name, kind}) => prefix + parent + name + (kind === 'directory' ? '/' : ' '));
	return [candidates.filter(candidate => candidate.startsWith(word)), word];
}

/** Reads lines, on a terminal with those before to choose from. */
function openTerminal(tree: ShellTree, history: ShellHistory): Interface {
	const terminal = createInterface({
		input: process.stdin,
		output: process.stdout,
		// A stream that is none says nothing of itself, and readline would look at the output alone: it would show what
		// it reads in a pipe.
		terminal: isatty(process.stdin.fd) && isatty(process.stdout.fd),
		history: [...history.lines],
		historySize: historyLineCountMax,
		completer(line: string, done: (error: Error | null, result: [string[], string]) => void) {
			completionsOf(line, tree).then(
				result => {
					done(null, result);
				},
				() => {
					done(null, [[], line]);
				},
			);
		},
	});
	// What was typed is remembered when it is known that it may be.
	terminal.on('history', (shown: string[]) => {
		history.showIn(shown);
	});
	return terminal;
}

/** Leaves what was typed on the screen, marked as given up. */
function clearTypedLine(terminal: Interface): void {
	terminal.write(null, {ctrl: true, name: 'e'});
	process.stdout.write('^C\n');
	// Both halves: readline cuts what stands before the cursor, which is all of the line now.
	terminal.write(null, {ctrl: true, name: 'u'});
}

/** Runs what is typed until the end, or until a secret was asked for, which takes the terminal. */
async function interactOnce(tree: ShellTree, history: ShellHistory): Promise<{code: number; isOver: boolean}> {
	const terminal = openTerminal(tree, history);
	let running: AbortController | undefined;
	let code: number = exitCode.ok;
	let isOver = true;
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

	const ask = async (question: string) => {
		isOver = false;
		terminal.close();
		return askSecret(question);
	};

	prompt();
	for await (const line of terminal) {
		if (line.trim() === 'exit') {
			break;
		}

		running = new AbortController();
		if (process.stdin.isTTY && line.trim() !== '' && (await mayBeKept(line, tree))) {
			history.add(line);
		}

		code = await runLine(line, {
			tree,
			signal: running.signal,
			ask: isInteractive() ? ask : undefined,
			isArgument: false,
		});
		running = undefined;
		if (!isOver) {
			break;
		}

		prompt();
	}

	terminal.close();
	return {code, isOver};
}

async function interact(tree: ShellTree, historyFile: string): Promise<number> {
	const history = await ShellHistory.load(historyFile, tree);
	for (;;) {
		const {code, isOver} = await interactOnce(tree, history);
		if (isOver) {
			// Somebody at a terminal has seen what failed.
			return process.stdin.isTTY ? exitCode.ok : code;
		}
	}
}

/**
 * @param command one line to run; undefined for a shell that reads lines. @param child the child that serves the tree;
 * the first one unless given
 */
export async function shell(command: string | undefined, stateDirectory: string, child?: string): Promise<number> {
	const tree = new ShellTree(stateDirectory, child);
	if (command === undefined) {
		// Says what is wrong, before anything is asked.
		await tree.describe('/');
		return interact(tree, join(stateDirectory, 'shell_history'));
	}

	const interruption = new AbortController();
	process.once('SIGINT', () => {
		interruption.abort();
	});
	return runLine(command, {
		tree,
		signal: interruption.signal,
		ask: isInteractive() ? askSecret : undefined,
		isArgument: true,
	});
}
