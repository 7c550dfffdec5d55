/** The shell's `dd`: copies between files of the tree and files of the host. */
import {open, type FileHandle} from 'node:fs/promises';
import {ShellUsageError} from './shell-line.js';
import {transferByteLengthMax, type ShellTree} from './shell-tree.js';

const hostPrefix = 'host:';
const names = ['if', 'of', 'bs', 'count', 'skip', 'seek'];

/** One end of a copy. */
interface CopyEnd {
	/** Empty at the end of the file. */
	read(offset: number, length: number): Promise<Buffer>;
	write(offset: number, data: Buffer): Promise<void>;
	/** Ends it; what was written is durable then. */
	close(): Promise<void>;
}

class HostEnd implements CopyEnd {
	readonly #file: FileHandle;
	readonly #isTarget: boolean;

	private constructor(file: FileHandle, isTarget: boolean) {
		this.#file = file;
		this.#isTarget = isTarget;
	}

	static async open(path: string, isTarget: boolean): Promise<HostEnd> {
		return new HostEnd(await open(path, isTarget ? 'w' : 'r', 0o600), isTarget);
	}

	async read(offset: number, length: number): Promise<Buffer> {
		const buffer = Buffer.alloc(length);
		const {bytesRead} = await this.#file.read(buffer, 0, length, offset);
		return buffer.subarray(0, bytesRead);
	}

	async write(offset: number, data: Buffer): Promise<void> {
		await this.#file.write(data, 0, data.length, offset);
	}

	async close(): Promise<void> {
		if (this.#isTarget) {
			await this.#file.sync();
		}

		await this.#file.close();
	}
}

class TreeEnd implements CopyEnd {
	readonly #tree: ShellTree;
	readonly #path: string;
	readonly #isTarget: boolean;

	constructor(tree: ShellTree, path: string, isTarget: boolean) {
		this.#tree = tree;
		this.#path = path;
		this.#isTarget = isTarget;
	}

	async read(offset: number, length: number): Promise<Buffer> {
		return this.#tree.read(this.#path, offset, length);
	}

	async write(offset: number, data: Buffer): Promise<void> {
		await this.#tree.write(this.#path, offset, data);
	}

	async close(): Promise<void> {
		if (this.#isTarget) {
			await this.#tree.sync(this.#path);
		}
	}
}

async function openEnd(tree: ShellTree, path: string, isTarget: boolean): Promise<CopyEnd> {
	if (path.startsWith(hostPrefix)) {
		return HostEnd.open(path.slice(hostPrefix.length), isTarget);
	}

	await tree.describe(path);
	return new TreeEnd(tree, path, isTarget);
}

const unitExponents: Readonly<Record<string, number>> = {'': 0, K: 10, M: 20, G: 30};

function parseCount(name: string, text: string): number {
	const [, digits, unit] = /^(\d+)([KMG]?)$/i.exec(text) ?? [];
	const value = digits === undefined ? Number.NaN : Number(digits) * 2 ** unitExponents[unit.toUpperCase()];
	if (!Number.isSafeInteger(value)) {
		throw new ShellUsageError(`${name}=${text} is no number; write for example ${name}=1M`);
	}

	return value;
}

function parseWords(words: readonly string[]): Map<string, string> {
	return new Map(words.map(word => {
		const [name, ...value] = word.split('=');
		if (!names.includes(name) || value.length === 0) {
			throw new ShellUsageError(`dd does not know "${word}"; it knows ${names.map(known => `${known}=`).join(' ')}`);
		}

		return [name, value.join('=')];
	}));
}

/** @returns what was done, for the user */
export async function copy(tree: ShellTree, words: readonly string[]): Promise<string> {
	const values = parseWords(words);
	const source = values.get('if');
	const target = values.get('of');
	if (source === undefined || target === undefined) {
		throw new ShellUsageError('dd needs if=FILE and of=FILE; files of the host are written host:FILE');
	}

	const numberOf = (name: string, otherwise: number) => values.has(name) ? parseCount(name, values.get(name)!) : otherwise;
	const blockLength = numberOf('bs', 4096);
	const begin = numberOf('skip', 0) * blockLength;
	const end = begin + numberOf('count', Number.MAX_SAFE_INTEGER) * blockLength;
	const shift = numberOf('seek', 0) * blockLength - begin;
	const from = await openEnd(tree, source, false);
	try {
		const to = await openEnd(tree, target, true);
		let offset = begin;
		try {
			while (offset < end) {
				const data = await from.read(offset, Math.min(transferByteLengthMax, end - offset));
				if (data.length === 0) {
					break;
				}

				await to.write(offset + shift, data);
				offset += data.length;
			}
		} finally {
			await to.close();
		}

		return `${offset - begin} bytes copied`;
	} finally {
		await from.close();
	}
}
