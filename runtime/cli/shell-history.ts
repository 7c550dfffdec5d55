/**
 * The lines that the shell remembers, in a file that only its owner can read. A line that writes what is a secret is
 * never in it, nor one of which that cannot be known: the files say it of themselves (`takesSecret`).
 */
import {
	chmodSync,
	closeSync,
	constants,
	fstatSync,
	fsyncSync,
	ftruncateSync,
	openSync,
	readFileSync,
	writeSync,
} from 'node:fs';
import {shellCommands} from './shell-commands.js';
import {parseShellLine} from './shell-line.js';
import type {ShellTree} from './shell-tree.js';

export const historyLineCountMax = 500;

const ownerOnly = 0o600;
const hostFile = /^host:/;

/** The files of the tree that a line writes to; undefined where the line is not understood. */
function writtenFiles(line: string): string[] | undefined {
	try {
		const {words, target} = parseShellLine(line);
		const copied = words.flatMap(word => (word.startsWith('of=') ? [word.slice('of='.length)] : []));
		const named = words.flatMap(word =>
			Object.hasOwn(shellCommands, word) ? (shellCommands[word].file ?? []) : [],
		);
		return [...(target === undefined ? [] : [target]), ...copied, ...named].filter(path => !hostFile.test(path));
	} catch {
		return undefined;
	}
}

/** True where none of the files that the line writes to takes a secret. */
export async function mayBeKept(line: string, tree: Pick<ShellTree, 'describe'>): Promise<boolean> {
	const files = writtenFiles(line);
	try {
		return (
			files !== undefined &&
			(await Promise.all(files.map(async path => tree.describe(path)))).every(({takesSecret}) => !takesSecret)
		);
	} catch {
		// A file that is not there may be a slip in the name of one that takes a secret.
		return false;
	}
}

/** The files of the tree by their names without directories. */
interface FileNames {
	/** Whether one of that name takes a secret. */
	readonly takesSecret: Map<string, boolean>;
	/** False where a directory cannot be looked into now, as that of the data while the device is locked. */
	isComplete: boolean;
}

async function collectNames(tree: Pick<ShellTree, 'list'>, directory: string, names: FileNames): Promise<void> {
	let entries;
	try {
		entries = await tree.list(directory);
	} catch {
		names.isComplete = false;
		return;
	}

	for (const {name, kind, takesSecret} of entries) {
		if (kind === 'directory') {
			await collectNames(tree, `${directory}${name}/`, names);
		} else {
			names.takesSecret.set(name, takesSecret || names.takesSecret.get(name) === true);
		}
	}
}

/** Lines of earlier shells that may be kept. In which directory each was typed is not known, so names alone decide. */
async function withoutSecrets(lines: readonly string[], tree: Pick<ShellTree, 'list'>): Promise<string[]> {
	const names: FileNames = {takesSecret: new Map(), isComplete: true};
	await collectNames(tree, '/', names);
	const isOpen = (path: string) => !(names.takesSecret.get(path.split('/').at(-1)!) ?? names.isComplete);
	return lines.filter(line => writtenFiles(line)?.every(path => isOpen(path)) ?? false);
}

export class ShellHistory {
	/** The newest first. */
	readonly lines: string[] = [];
	readonly #file: string;
	#shown: string[] | undefined;

	private constructor(file: string) {
		this.#file = file;
	}

	/** What is kept in the file; secrets in it are gone from it then. */
	static async load(file: string, tree: Pick<ShellTree, 'list'>): Promise<ShellHistory> {
		const history = new ShellHistory(file);
		let found: string[];
		try {
			found = readFileSync(file, 'utf8').split('\n').filter(Boolean).slice(0, historyLineCountMax);
			chmodSync(file, ownerOnly);
		} catch {
			return history;
		}

		history.lines.push(...(await withoutSecrets(found, tree)));
		if (history.lines.length < found.length) {
			history.#save();
		}

		return history;
	}

	/** Remembers a line; one that was there already moves to the front. */
	add(line: string): void {
		const rest = this.lines.filter(known => known !== line);
		this.lines.splice(0, this.lines.length, line, ...rest.slice(0, historyLineCountMax - 1));
		this.#show();
		this.#save();
	}

	/** From now on `shown` has the lines that are remembered, and nothing else. */
	showIn(shown: string[]): void {
		this.#shown = shown;
		this.#show();
	}

	#show(): void {
		this.#shown?.splice(0, this.#shown.length, ...this.lines);
	}

	/** What was in the file is overwritten first, so that a secret is gone from the place where it lay. */
	#save(): void {
		try {
			const file = openSync(this.#file, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, ownerOnly);
			try {
				const content = Buffer.from(this.lines.map(line => `${line}\n`).join(''));
				const blank = Buffer.alloc(Math.max(0, fstatSync(file).size - content.length));
				writeSync(file, Buffer.concat([content, blank]), 0, content.length + blank.length, 0);
				fsyncSync(file);
				ftruncateSync(file, content.length);
			} finally {
				closeSync(file);
			}
		} catch {
			// A history that cannot be kept is no reason to trouble anybody.
		}
	}
}
