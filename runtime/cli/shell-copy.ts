/** The shell's `dd`: copies between files of the tree and files of the host. */
import {open, type FileHandle} from 'node:fs/promises';
import {formatBytes} from './quantity.js';
import {ShellUsageError} from './shell-line.js';
import {transferByteLengthMax, type ShellTree} from './shell-tree.js';

const hostPrefix = 'host:';
const names = ['if', 'of', 'bs', 'count', 'skip', 'seek'];

/** One end of a copy. */
interface CopyEnd {
	/** Fills `memory` or its beginning, and returns what it has filled; empty at the end of the file. */
	read(offset: number, memory: Buffer): Promise<Buffer>;
	write(offset: number, data: Buffer): Promise<void>;
	/** Undefined where it cannot be told. */
	byteLength(): Promise<number | undefined>;
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

	async read(offset: number, memory: Buffer): Promise<Buffer> {
		let filled = 0;
		for (let count = -1; count !== 0 && filled < memory.length; filled += count) {
			count = (await this.#file.read(memory, filled, memory.length - filled, offset + filled)).bytesRead;
		}

		return memory.subarray(0, filled);
	}

	async byteLength(): Promise<number | undefined> {
		const stat = await this.#file.stat();
		return stat.isFile() ? stat.size : undefined;
	}

	async write(offset: number, data: Buffer): Promise<void> {
		for (let done = 0; done < data.length;) {
			done += (await this.#file.write(data, done, data.length - done, offset + done)).bytesWritten;
		}
	}

	async close(): Promise<void> {
		// Pipes and devices like /dev/null have nothing to make durable.
		if (this.#isTarget && (await this.#file.stat()).isFile()) {
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

	async read(offset: number, memory: Buffer): Promise<Buffer> {
		return this.#tree.read(this.#path, offset, memory.length, memory);
	}

	async byteLength(): Promise<number> {
		return (await this.#tree.describe(this.#path)).byteLength;
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
	return new Map(
		words.map(word => {
			const [name, ...value] = word.split('=');
			if (!names.includes(name) || value.length === 0) {
				throw new ShellUsageError(
					`dd does not know "${word}"; it knows ${names.map(known => `${known}=`).join(' ')}`,
				);
			}

			return [name, value.join('=')];
		}),
	);
}

/** Pieces under way at a time, each of up to `transferByteLengthMax`. */
const pieceCountMax = 4;

export interface CopyWatch {
	/** Ends the copy after the pieces that are under way. */
	readonly signal: AbortSignal;
	/** @param total undefined where the end is not known */
	onProgress(byteLength: number, total: number | undefined): void;
}

interface Range {
	readonly begin: number;
	readonly end: number;
	/** Added to an offset of the source it gives that of the target. */
	readonly shift: number;
}

/** Several pieces at a time, since each one waits for the device and for the other end. @returns bytes copied */
async function copyRange(
	from: CopyEnd,
	to: CopyEnd,
	{begin, end, shift}: Range,
	{signal, onProgress}: CopyWatch,
	total: number | undefined,
): Promise<number> {
	let next = begin;
	let sourceEnd = end;
	let copied = 0;
	const copyPieces = async () => {
		const memory = Buffer.allocUnsafeSlow(transferByteLengthMax);
		while (next < sourceEnd && !signal.aborted) {
			const offset = next;
			const length = Math.min(transferByteLengthMax, sourceEnd - offset);
			next += length;
			const data = await from.read(offset, memory.subarray(0, length));
			if (data.length < length) {
				sourceEnd = Math.min(sourceEnd, offset + data.length);
			}

			if (data.length > 0) {
				await to.write(offset + shift, data);
				copied += data.length;
				onProgress(copied, total);
			}
		}
	};

	const ended = await Promise.allSettled(Array.from({length: pieceCountMax}, copyPieces));
	for (const result of ended) {
		if (result.status === 'rejected') {
			throw result.reason;
		}
	}

	return copied;
}

/** How many bytes there are to copy, where the source says how long it is. */
async function totalOf(from: CopyEnd, begin: number, end: number): Promise<number | undefined> {
	const byteLength = await from.byteLength();
	return byteLength === undefined ? undefined : Math.max(0, Math.min(end, byteLength) - begin);
}

function describeCopy(byteLength: number, elapsedMs: number, isAborted: boolean): string {
	const rate = elapsedMs > 0 ? `, ${formatBytes((byteLength / elapsedMs) * 1000)}/s` : '';
	return `${byteLength} bytes copied (${formatBytes(byteLength)}) in ${(elapsedMs / 1000).toFixed(1)} s${rate}${isAborted ? '; interrupted' : ''}`;
}

/** @returns what was done, for the user */
export async function copy(tree: ShellTree, words: readonly string[], watch: CopyWatch): Promise<string> {
	const values = parseWords(words);
	const source = values.get('if');
	const target = values.get('of');
	if (source === undefined || target === undefined) {
		throw new ShellUsageError('dd needs if=FILE and of=FILE; files of the host are written host:FILE');
	}

	const numberOf = (name: string, otherwise: number) =>
		values.has(name) ? parseCount(name, values.get(name)!) : otherwise;
	const blockLength = numberOf('bs', 4096);
	const begin = numberOf('skip', 0) * blockLength;
	const end = begin + numberOf('count', Number.MAX_SAFE_INTEGER) * blockLength;
	const shift = numberOf('seek', 0) * blockLength - begin;
	const from = await openEnd(tree, source, false);
	try {
		const to = await openEnd(tree, target, true);
		const startedAt = performance.now();
		let copied = 0;
		try {
			copied = await copyRange(from, to, {begin, end, shift}, watch, await totalOf(from, begin, end));
		} finally {
			await to.close();
		}

		return describeCopy(copied, performance.now() - startedAt, watch.signal.aborted);
	} finally {
		await from.close();
	}
}
