/** What the shell can do. */
import {setTimeout} from 'node:timers/promises';
import {ProgressLine} from './progress-line.js';
import {copy} from './shell-copy.js';
import {ShellUsageError, parseShellLine} from './shell-line.js';
import {transferByteLengthMax, type ShellTree, type TreeEntry} from './shell-tree.js';

export interface ShellContext {
	readonly tree: ShellTree;
	write(text: string | Buffer): void;
	/** Ends what repeats itself. */
	readonly signal: AbortSignal;
	/** Asks for a line without showing it, where there is somebody to ask. The caller wipes it. */
	readonly ask: ((question: string) => Promise<Buffer>) | undefined;
	/** The line is an argument of this program, which every user of the machine can read. */
	readonly isArgument: boolean;
	/** For who typed the line. */
	notice(text: string): void;
}

interface ShellCommand {
	readonly usage: string;
	readonly purpose: string;
	/** The file that it writes to, where no word of the line says so. */
	readonly file?: string;
	run(words: readonly string[], context: ShellContext): Promise<void>;
}

const watchIntervalMs = 1000;

function modeText({kind, mode}: TreeEntry): string {
	const bits = [...'rwxrwxrwx'].map((letter, i) => ((mode & (0o400 >> i)) === 0 ? '-' : letter));
	return (kind === 'directory' ? 'd' : '-') + bits.join('');
}

function listing(entries: readonly TreeEntry[], isLong: boolean): string {
	const width = Math.max(0, ...entries.map(({byteLength}) => String(byteLength).length));
	return entries
		.map(entry =>
			isLong
				? `${modeText(entry)} ${String(entry.byteLength).padStart(width)} ${entry.name}\n`
				: `${entry.name}\n`,
		)
		.join('');
}

async function list(words: readonly string[], {tree, write}: ShellContext): Promise<void> {
	const paths = words.filter(word => word !== '-l');
	for (const path of paths.length > 0 ? paths : ['.']) {
		const entry = await tree.describe(path);
		const entries = entry.kind === 'directory' ? await tree.list(path) : [{...entry, name: path}];
		write(
			(paths.length > 1 && entry.kind === 'directory' ? `${path}:\n` : '') +
				listing(entries, words.includes('-l')),
		);
	}
}

async function show(words: readonly string[], {tree, write, signal}: ShellContext): Promise<void> {
	for (const path of words) {
		let length = transferByteLengthMax;
		for (let offset = 0; length === transferByteLengthMax && !signal.aborted; offset += length) {
			const data = await tree.read(path, offset, transferByteLengthMax);
			write(data);
			length = data.length;
		}
	}
}

async function repeat(words: readonly string[], context: ShellContext): Promise<void> {
	if (words.length === 0) {
		throw new ShellUsageError('watch needs a command, such as "watch cat control/rekey_progress"');
	}

	while (!context.signal.aborted) {
		await run({words, target: undefined}, context);
		// Ending by Ctrl-C is the way to end it.
		await setTimeout(watchIntervalMs, undefined, {signal: context.signal}).catch(() => undefined);
	}
}

/**
 * @returns what is to be written into a file that takes a secret; undefined where the line itself says it. The caller
 * wipes it
 */
async function askedSecret(
	target: string,
	isSaid: boolean,
	{tree, ask, isArgument, notice}: ShellContext,
): Promise<Buffer | undefined> {
	const {takesSecret} = await tree.describe(target);
	if (!takesSecret) {
		return undefined;
	}

	if (!isSaid) {
		return ask?.(`${target}: `);
	}

	if (isArgument) {
		throw new ShellUsageError(
			`${target} takes a secret, and every user of this machine can read a command line; leave the words out, and "echo > ${target}" asks for it on a terminal`,
		);
	}

	notice(`this line is not kept in the history; "echo > ${target}" asks without showing what is typed`);
	return undefined;
}

const unlockFile = '/control/unlock';

/** Without a terminal the anchor opens by itself, as after writing an empty line. */
async function unlock(words: readonly string[], context: ShellContext): Promise<void> {
	if (words.length > 0) {
		throw new ShellUsageError('unlock takes no words; it asks for the passphrase without showing it');
	}

	const secret = (await askedSecret(unlockFile, false, context)) ?? Buffer.alloc(0);
	try {
		await context.tree.write(unlockFile, 0, secret);
	} finally {
		secret.fill(0);
	}
}

/** How often a terminal is told how a copy stands. */
const progressIntervalMs = 200;

async function copyShown(words: readonly string[], {tree, write, signal}: ShellContext): Promise<void> {
	const line = new ProgressLine('copying', {isTerminal: true, write: text => void process.stderr.write(text)});
	const startedAt = performance.now();
	let shownAt = startedAt;
	const onProgress = (done: number, total: number | undefined) => {
		const now = performance.now();
		if (!process.stderr.isTTY || total === undefined || now - shownAt < progressIntervalMs) {
			return;
		}

		shownAt = now;
		const bytesPerSecond = (done / (now - startedAt)) * 1000;
		line.show({
			phase: 'in-progress',
			lastResult: 'none',
			done,
			total,
			bytesPerSecond,
			secondsLeft: Math.ceil((total - done) / bytesPerSecond),
		});
	};

	try {
		const text = await copy(tree, words, {signal, onProgress});
		line.end();
		write(`${text}\n`);
	} catch (error) {
		line.end();
		throw error;
	}
}

export const shellCommands: Readonly<Record<string, ShellCommand>> = {
	ls: {usage: 'ls [-l] [PATH...]', purpose: 'list directories and files', run: list},
	cat: {usage: 'cat PATH...', purpose: 'show what files contain', run: show},
	echo: {
		usage: 'echo WORD... > PATH',
		purpose: 'write a line into a file, such as "echo true > control/create_snapshot"',
		run: async (words, {write}) => {
			write(`${words.join(' ')}\n`);
		},
	},
	dd: {
		usage: 'dd if=PATH of=PATH [bs=N] [count=N] [skip=N] [seek=N]',
		purpose: 'copy bytes; files of the host are written host:PATH',
		run: copyShown,
	},
	unlock: {
		usage: 'unlock',
		purpose: 'ask for the passphrase without showing it, and unlock the device',
		file: unlockFile,
		run: unlock,
	},
	watch: {usage: 'watch COMMAND...', purpose: 'run a command each second until Ctrl-C', run: repeat},
	cd: {
		usage: 'cd [PATH]',
		purpose: 'change the directory that paths begin at',
		run: async (words, {tree}) => tree.enter(words[0] ?? '/'),
	},
	sync: {
		usage: 'sync',
		purpose: 'make everything that was written durable',
		run: async (_words, {tree}) => tree.sync('/current/data'),
	},
	help: {
		usage: 'help',
		purpose: 'show this',
		run: async (_words, {write}) => {
			write(
				Object.values(shellCommands)
					.map(({usage, purpose}) => `${usage.padEnd(56)} ${purpose}\n`)
					.join(''),
			);
		},
	},
	exit: {usage: 'exit', purpose: 'leave the shell (or Ctrl-D)', run: async () => undefined},
};

async function outputOf(
	{name, words}: {name: string; words: readonly string[]},
	context: ShellContext,
): Promise<Buffer> {
	const parts: Buffer[] = [];
	await shellCommands[name].run(words, {...context, write: text => void parts.push(Buffer.from(text))});
	const content = Buffer.concat(parts);
	for (const part of parts) {
		part.fill(0);
	}

	return content;
}

async function run(
	{words: [name, ...words], target}: {words: readonly string[]; target: string | undefined},
	context: ShellContext,
): Promise<void> {
	if (!Object.hasOwn(shellCommands, name)) {
		throw new ShellUsageError(`there is no command "${name}"; "help" shows what there is`);
	}

	if (target === undefined) {
		await shellCommands[name].run(words, context);
		return;
	}

	const content = (await askedSecret(target, words.length > 0, context)) ?? (await outputOf({name, words}, context));
	try {
		if (content.length > transferByteLengthMax) {
			throw new ShellUsageError(`more than ${transferByteLengthMax} bytes are copied with dd`);
		}

		await context.tree.write(target, 0, content);
	} finally {
		content.fill(0);
	}
}

/** Runs one line; an empty one does nothing. @throws ShellUsageError, ControlError and errors of the host's files */
export async function runShellLine(text: string, context: ShellContext): Promise<void> {
	const line = parseShellLine(text);
	if (line.words.length > 0) {
		await run(line, context);
	}
}
