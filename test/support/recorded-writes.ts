/**
 * What a program did to its files, as `test/system/power-loss/record-writes.c` records it, and what a loss of power may
 * leave of it.
 */
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import {basename, dirname, join} from 'node:path';
import {projectFolder} from './runtime-process.js';
import type {SeededRandom} from './seeded-random.js';

const headerLength = 34;
const blockSize = 4096;
/** What media write as a whole or not at all. */
const sectorSize = 512;

export interface RecordedEvent {
	/** Length of the record up to the end of this event: when it happened. */
	readonly at: number;
	/**
	 * W written, T truncated, G grown, Z zeroed; B sync begun, E sync ended; C file made, M directory made, R renamed,
	 * U removed.
	 */
	readonly kind: 'W' | 'T' | 'G' | 'Z' | 'B' | 'E' | 'C' | 'M' | 'R' | 'U';
	/** Within the recorded folder; `.` is that folder. */
	readonly file: string;
	readonly inode: number;
	readonly thread: number;
	readonly offset: number;
	readonly length: number;
	/** What was written, or the new name. */
	readonly data: Buffer;
}

/** Builds what is preloaded. @returns its path */
export function buildRecorder(folder: string): string {
	const library = join(folder, 'record-writes.so');
	execFileSync('gcc', [
		'-O1',
		'-shared',
		'-fPIC',
		'-o',
		library,
		join(projectFolder, 'test/system/power-loss/record-writes.c'),
		'-lpthread',
	]);
	return library;
}

export function readRecord(path: string): RecordedEvent[] {
	const record = fs.readFileSync(path);
	const events: RecordedEvent[] = [];
	for (let begin = 0; begin + headerLength <= record.length;) {
		const nameLength = record[begin + 1];
		const dataLength = record.readUInt32LE(begin + 2);
		const at = begin + headerLength + nameLength + dataLength;
		events.push({
			at,
			kind: String.fromCharCode(record[begin]) as RecordedEvent['kind'],
			file: record.toString('utf8', begin + headerLength, begin + headerLength + nameLength),
			inode: Number(record.readBigUInt64LE(begin + 22)),
			thread: record.readUInt32LE(begin + 30),
			offset: Number(record.readBigUInt64LE(begin + 6)),
			length: Number(record.readBigUInt64LE(begin + 14)),
			data: record.subarray(begin + headerLength + nameLength, at),
		});
		begin = at;
	}

	return events;
}

/**
 * What becomes of what no sync has covered: nothing of it arrives, all of it, or any part. Of the names in one
 * directory, as file systems keep them in a log, the part is the first ones.
 */
export type Fate = 'lost' | 'kept' | 'any';

/** Names that one operation has given or taken, all at once. */
type NameChange = ReadonlyArray<readonly [name: string, node: Node | undefined]>;

interface Node {
	readonly isDirectory: boolean;
	/** The path under which it was last changed or synced. */
	path: string;
	/** Of a file's content, or of the names in a directory, in order. */
	readonly changes: Array<RecordedEvent | NameChange>;
	/** How many of them a sync has made durable: it began after them, and has ended. */
	durableCount: number;
	/** Of a directory: what it holds for whoever looks now. */
	readonly names: Map<string, Node>;
	/** Changes when a sync began, by the thread that syncs. */
	readonly begun: Map<number, number>;
}

function nodeOf(path: string, isDirectory: boolean): Node {
	return {isDirectory, path, changes: [], durableCount: 0, names: new Map(), begun: new Map()};
}

/** Everything in the folder, from when it was empty on. */
class Recording {
	readonly root = nodeOf('.', true);
	readonly #byInode = new Map<number, Node>();

	add(event: RecordedEvent): void {
		const {kind, file, inode} = event;
		if (kind === 'C' || kind === 'M') {
			const node = nodeOf(file, kind === 'M');
			this.#byInode.set(inode, node);
			this.#change(dirname(file), [[basename(file), node]]);
		} else if (kind === 'R') {
			this.#rename(file, event.data.toString());
		} else if (kind === 'U') {
			this.#change(dirname(file), [[basename(file), undefined]]);
		} else {
			this.#changeContent(event, file === '.' ? this.root : this.#byInode.get(inode));
		}
	}

	#changeContent(event: RecordedEvent, node: Node | undefined): void {
		if (!node) {
			throw new Error(`${event.file} was changed before it was made`);
		}

		node.path = event.file;
		if (event.kind === 'B') {
			node.begun.set(event.thread, node.changes.length);
		} else if (event.kind === 'E') {
			node.durableCount = Math.max(node.durableCount, node.begun.get(event.thread) ?? 0);
		} else {
			node.changes.push(event);
		}
	}

	#directory(path: string): Node | undefined {
		return path === '.' ? this.root : this.#directory(dirname(path))?.names.get(basename(path));
	}

	/** What was made unseen, as the folder in which a socket is bound, has no names here. */
	#rename(from: string, to: string): void {
		const node = this.#directory(dirname(from))?.names.get(basename(from));
		if (node && dirname(from) === dirname(to)) {
			this.#change(dirname(from), [
				[basename(from), undefined],
				[basename(to), node],
			]);
		} else if (node) {
			throw new Error(`${from} was moved to another directory`);
		}
	}

	#change(path: string, change: NameChange): void {
		const directory = this.#directory(path);
		directory?.changes.push(change);
		for (const [name, node] of change) {
			apply(directory?.names, name, node);
		}
	}
}

function apply(names: Map<string, Node> | undefined, name: string, node: Node | undefined): void {
	if (node) {
		names?.set(name, node);
	} else {
		names?.delete(name);
	}
}

/** Makes in an empty folder what a loss of power may leave of the recorded one, which was empty, where `events` end. */
export function rebuild(
	folder: string,
	events: readonly RecordedEvent[],
	fateOf: (file: string) => Fate,
	random: SeededRandom,
): void {
	const recording = new Recording();
	for (const event of events) {
		recording.add(event);
	}

	makeDirectory(folder, recording.root, fateOf, random);
}

function makeDirectory(
	path: string,
	{changes, durableCount, path: recordedPath}: Node,
	fateOf: (file: string) => Fate,
	random: SeededRandom,
): void {
	const fate = fateOf(recordedPath);
	const count =
		fate === 'kept'
			? changes.length
			: fate === 'lost'
				? durableCount
				: durableCount + random.below(changes.length - durableCount + 1);
	const names = new Map<string, Node>();
	for (const change of changes.slice(0, count) as NameChange[]) {
		for (const [name, node] of change) {
			apply(names, name, node);
		}
	}

	for (const [name, node] of names) {
		const target = join(path, name);
		if (node.isDirectory) {
			fs.mkdirSync(target, {mode: 0o700});
			makeDirectory(target, node, fateOf, random);
		} else {
			makeFile(target, node, fateOf(node.path), random);
		}
	}
}

function makeFile(path: string, {changes, durableCount}: Node, fate: Fate, random: SeededRandom): void {
	const file = fs.openSync(path, 'wx+', 0o600);
	for (const [i, change] of (changes as RecordedEvent[]).entries()) {
		makeChange(file, change, i < durableCount ? 'kept' : fate, random);
	}

	fs.closeSync(file);
}

function makeChange(file: number, {kind, offset, length, data}: RecordedEvent, fate: Fate, random: SeededRandom): void {
	const size = fs.fstatSync(file).size;
	if (kind === 'T' || kind === 'G') {
		if (fate === 'kept' || (fate === 'any' && random.below(2) === 0)) {
			fs.ftruncateSync(file, kind === 'T' ? length : Math.max(length, size));
		}

		return;
	}

	const content = kind === 'W' ? data : Buffer.alloc(Math.max(0, Math.min(length, size - offset)));
	for (let begin = 0; begin < content.length; begin += blockSize) {
		keepBlock(file, content.subarray(begin, begin + blockSize), {offset: offset + begin, fate, random});
	}
}

/** Writes one block or, where its fate is open, perhaps nothing or some of its sectors. */
function keepBlock(
	file: number,
	block: Buffer,
	{offset, fate, random}: {offset: number; fate: Fate; random: SeededRandom},
): void {
	const drawn = fate === 'any' ? ['lost', 'kept', 'torn'][random.below(3)] : fate;
	if (drawn === 'kept') {
		fs.writeSync(file, block, 0, block.length, offset);
	} else if (drawn === 'torn') {
		for (let begin = 0; begin < block.length; begin += sectorSize) {
			if (random.below(2) === 0) {
				const sector = block.subarray(begin, begin + sectorSize);
				fs.writeSync(file, sector, 0, sector.length, offset + begin);
			}
		}
	}
}
