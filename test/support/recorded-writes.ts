/** What a program wrote to its files, as `test/system/power-loss/record-writes.c` records it, and what a loss of power may leave of it. */
import {execFileSync} from 'node:child_process';
import fs from 'node:fs';
import {join} from 'node:path';
import {projectFolder} from './runtime-process.js';
import type {SeededRandom} from './seeded-random.js';

const headerLength = 22;
const blockSize = 4096;
/** What media write as a whole or not at all. */
const sectorSize = 512;

export interface RecordedEvent {
	/** Length of the record up to the end of this event: when it happened. */
	readonly at: number;
	readonly kind: 'W' | 'B' | 'E' | 'T' | 'G' | 'Z';
	/** Within the recorded folder. */
	readonly file: string;
	readonly offset: number;
	readonly length: number;
	readonly data: Buffer;
}

/** Builds what is preloaded. @returns its path */
export function buildRecorder(folder: string): string {
	const library = join(folder, 'record-writes.so');
	execFileSync('gcc', ['-O1', '-shared', '-fPIC', '-o', library, join(projectFolder, 'test/system/power-loss/record-writes.c'), '-ldl', '-lpthread']);
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
			offset: Number(record.readBigUInt64LE(begin + 6)),
			length: Number(record.readBigUInt64LE(begin + 14)),
			data: record.subarray(begin + headerLength + nameLength, at),
		});
		begin = at;
	}

	return events;
}

/** Of the events, those that a sync has made durable: it began after them, and has ended. */
function durableEvents(events: readonly RecordedEvent[]): Set<RecordedEvent> {
	const durable = new Set<RecordedEvent>();
	const begun = new Map<string, number>();
	for (const [i, {kind, file}] of events.entries()) {
		if (kind === 'B') {
			begun.set(file, i);
		} else if (kind === 'E') {
			for (const event of events.slice(0, begun.get(file) ?? 0)) {
				if (event.file === file) {
					durable.add(event);
				}
			}
		}
	}

	return durable;
}

/** What becomes of writes that no sync has covered. */
export type Fate = 'lost' | 'kept' | 'any';

/** Makes of a copy of the folder, as it was when the record began, one that a loss of power may leave where `events` end. */
export function rebuild(copy: string, events: readonly RecordedEvent[], fateOf: (file: string) => Fate, random: SeededRandom): void {
	const durable = durableEvents(events);
	const files = new Map<string, number>();
	const open = (file: string): number => {
		const opened = files.get(file) ?? fs.openSync(join(copy, file), 'r+');
		files.set(file, opened);
		return opened;
	};

	for (const event of events) {
		const {kind, file, offset, length, data} = event;
		const fate = durable.has(event) ? 'kept' : fateOf(file);
		if (kind === 'T') {
			fs.ftruncateSync(open(file), length);
		} else if (kind === 'G') {
			fs.ftruncateSync(open(file), Math.max(length, fs.fstatSync(open(file)).size));
		} else if (kind === 'W' || kind === 'Z') {
			const content = kind === 'W' ? data : Buffer.alloc(Math.max(0, Math.min(length, fs.fstatSync(open(file)).size - offset)));
			for (let begin = 0; begin < content.length; begin += blockSize) {
				keepBlock(open(file), content.subarray(begin, begin + blockSize), {offset: offset + begin, fate, random});
			}
		}
	}

	for (const file of files.values()) {
		fs.closeSync(file);
	}
}

/** Writes one block or, where its fate is open, perhaps nothing or some of its sectors. */
function keepBlock(file: number, block: Buffer, {offset, fate, random}: {offset: number; fate: Fate; random: SeededRandom}): void {
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
