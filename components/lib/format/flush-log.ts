/**
 * The flush log: what was written since the last secured state, so that a flush costs one block of the medium instead
 * of every changed inner block. The trust anchor keeps the hash of the newest entry; each entry names the hash of the
 * one before it, the first one that of the superblock. So the anchor vouches for the superblock and all of the entries,
 * in their order, and for nothing else: no entry can be altered, left out, added or put back.
 *
 * A flush is one entry or several, and only the last of them is anchored. Entries that follow the anchored one are
 * those of a flush that was cut off before the anchor knew of it, or the anchor is older than the medium. So where
 * superblocks carry authenticators, entries do, too, under a key that the anchor gives for the one flush that may
 * follow: nobody else can add any.
 *
 * An entry is one block:
 *
 *       0  8   magic "CBE log\0"
 *       8  4   version, 2 where superblocks carry authenticators, else 1
 *      12  4   number of changes
 *      16  8   generation that the changes carry
 *      24  8   position in the log
 *      32 32   hash (SHA-256) of the block before it in the log, or of the superblock
 *      64  4   version 2: number of the flush in the log
 *      68  4   version 2: entries of this flush that follow
 *      72 32   version 2: HMAC-SHA-256 of the block with zeroes here
 * 64 56n  changes (version 2: from 120 on): VBA 8 · PBA 8 · leaf of the free tree that the PBA was taken from, all ones
 * where
 *              none was 8 · label 32
 *
 * The rest is zero. A change says where a block of the current tree now lies and which label it has. An older change of
 * the same VBA is overridden. The log counts only with state `normal`, and only until the next superblock is secured.
 */
import {createHmac, timingSafeEqual} from 'node:crypto';
import type {Generation, Pba, Vba} from '../../sessions/vocabulary.js';
import {blockSize} from './geometry.js';
import {labelLength, labelOf} from './label.js';
import type {FlushLogArea} from './superblock.js';

const magic = Buffer.from('CBE log\0', 'latin1');
const changeLength = 56;
const flushOffset = 64;
const authenticatorOffset = 72;
const authenticatorLength = 32;

/** Whether entries carry authenticators. */
export type LogForm = 'plain' | 'authenticated';

const versions: Readonly<Record<LogForm, number>> = {plain: 1, authenticated: 2};
const headerLengths: Readonly<Record<LogForm, number>> = {plain: 64, authenticated: 120};

/** Changes in one block. */
export function changesPerBlock(form: LogForm): number {
	return (blockSize - headerLengths[form]) / changeLength;
}

const noLeaf = 0xffff_ffff_ffff_ffffn;

/** Changes of leaves, as vectors: the `i`th of each belongs together. */
export interface LeafChanges {
	readonly vbas: Vba[];
	readonly addresses: Pba[];
	/**
	 * Leaves of the free tree whose blocks the addresses were in the last secured state; -1 where it was the leaf's
	 * own.
	 */
	readonly leaves: Vba[];
	/** 32 bytes each. */
	readonly labels: Uint8Array;
}

export interface LogEntry {
	readonly generation: Generation;
	readonly changes: LeafChanges;
	/** Of the whole block. */
	readonly hash: Uint8Array;
	/** Undefined where entries carry no authenticators. */
	readonly flush?: {
		/** Counts the flushes of this log, from 0. */
		readonly number: number;
		/** Entries of the same flush that follow. */
		readonly left: number;
	};
}

/** Where the log of a secured state ends so far. */
export interface LogTail {
	/** Blocks, from the first one on, that hold what was flushed. */
	readonly usedBlockCount: number;
	/** Flushes in this log. */
	readonly flushCount: number;
	/** Of the newest entry, or of the superblock where there is none. */
	readonly hash: Uint8Array;
}

/** A log that begins behind the superblock with this hash. */
export function emptyLog(superblockHash: Uint8Array): LogTail {
	return {usedBlockCount: 0, flushCount: 0, hash: superblockHash};
}

/** Changes that still fit into the log; none without the key that they have to be authenticated with. */
export function logRoom({blockCount}: FlushLogArea, {usedBlockCount}: LogTail, form: LogForm, hasKey: boolean): number {
	return form === 'authenticated' && !hasKey ? 0 : (blockCount - usedBlockCount) * changesPerBlock(form);
}

/** Entries of one flush. They count once the hash of the tail with them is anchored. */
export interface EncodedFlush {
	readonly firstPba: Pba;
	readonly data: Buffer;
	/** The log with them. */
	readonly tail: LogTail;
}

/**
 * How entries are made: with authenticators there is the trust anchor's key for the one flush that follows the tail.
 */
export interface FlushEncoding {
	readonly form: LogForm;
	readonly key: Uint8Array | undefined;
}

/** The entries that follow the tail, and where they have to lie. */
export function encodeFlush(
	{firstPba}: FlushLogArea,
	{usedBlockCount, flushCount, hash: previous}: LogTail,
	{form, key}: FlushEncoding,
	changes: LeafChanges,
	generation: Generation,
): EncodedFlush {
	const count = changes.vbas.length;
	const perBlock = changesPerBlock(form);
	const blockCount = Math.ceil(count / perBlock);
	const data = Buffer.alloc(blockCount * blockSize);
	let hash = previous;
	for (let i = 0; i < blockCount; i++) {
		const block = data.subarray(i * blockSize, (i + 1) * blockSize);
		const first = i * perBlock;
		magic.copy(block);
		block.writeUInt32LE(versions[form], 8);
		block.writeUInt32LE(Math.min(perBlock, count - first), 12);
		writeNumber(block, generation, 16);
		writeNumber(block, usedBlockCount + i, 24);
		block.set(hash, 32);
		encodeChanges(block, changes, first, form);
		if (key && form === 'authenticated') {
			block.writeUInt32LE(flushCount, flushOffset);
			block.writeUInt32LE(blockCount - i - 1, flushOffset + 4);
			authenticatorOf(block, key).copy(block, authenticatorOffset);
		}

		hash = labelOf(block);
	}

	return {
		firstPba: firstPba + usedBlockCount,
		data,
		tail: {usedBlockCount: usedBlockCount + blockCount, flushCount: flushCount + 1, hash},
	};
}

/** Of a block where the authenticator is zero. */
function authenticatorOf(block: Uint8Array, flushKey: Uint8Array): Buffer {
	return createHmac('sha256', flushKey).update(block).digest();
}

function isAuthentic(block: Buffer, flushKey: Uint8Array): boolean {
	const bare = Buffer.from(block);
	bare.fill(0, authenticatorOffset, authenticatorOffset + authenticatorLength);
	return timingSafeEqual(
		authenticatorOf(bare, flushKey),
		block.subarray(authenticatorOffset, authenticatorOffset + authenticatorLength),
	);
}

/** Below 2^53; two halves are quicker than a bigint. */
function writeNumber(block: Buffer, value: number, offset: number): void {
	block.writeUInt32LE(value % 2 ** 32, offset);
	block.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}

function encodeChanges(
	block: Buffer,
	{vbas, addresses, leaves, labels}: LeafChanges,
	first: number,
	form: LogForm,
): void {
	const end = Math.min(vbas.length, first + changesPerBlock(form));
	for (let i = first, offset = headerLengths[form]; i < end; i++, offset += changeLength) {
		writeNumber(block, vbas[i], offset);
		writeNumber(block, addresses[i], offset + 8);
		if (leaves[i] < 0) {
			block.fill(0xff, offset + 16, offset + 24);
		} else {
			writeNumber(block, leaves[i], offset + 16);
		}

		block.set(labels.subarray(i * labelLength, (i + 1) * labelLength), offset + 24);
	}
}

/**
 * Decodes the entry that follows the one with hash `previous` at `position`; undefined where the block is no such
 * entry.
 */
export function decodeLogEntry(block: Buffer, previous: Uint8Array, position: number): LogEntry | undefined {
	const count = block.readUInt32LE(12);
	const form = (Object.keys(versions) as LogForm[]).find(name => versions[name] === block.readUInt32LE(8));
	const isNext =
		block.subarray(0, 8).equals(magic) &&
		form !== undefined &&
		count > 0 &&
		count <= changesPerBlock(form) &&
		block.readBigUInt64LE(24) === BigInt(position) &&
		block.subarray(32, 64).equals(previous);
	if (!isNext) {
		return undefined;
	}

	const changes = {
		vbas: [] as Vba[],
		addresses: [] as Pba[],
		leaves: [] as Vba[],
		labels: new Uint8Array(count * labelLength),
	};
	for (let i = 0, offset = headerLengths[form]; i < count; i++, offset += changeLength) {
		changes.vbas.push(Number(block.readBigUInt64LE(offset)));
		changes.addresses.push(Number(block.readBigUInt64LE(offset + 8)));
		const leaf = block.readBigUInt64LE(offset + 16);
		changes.leaves.push(leaf === noLeaf ? -1 : Number(leaf));
		changes.labels.set(block.subarray(offset + 24, offset + changeLength), i * labelLength);
	}

	return {
		generation: Number(block.readBigUInt64LE(16)),
		changes,
		hash: labelOf(block),
		...(form === 'authenticated' && {
			flush: {number: block.readUInt32LE(flushOffset), left: block.readUInt32LE(flushOffset + 4)},
		}),
	};
}

/** An entry behind the anchored one. */
export interface AheadEntry {
	readonly entry: LogEntry;
	readonly block: Buffer;
}

/** The way through a log, block by block, from a superblock to the hash that the trust anchor keeps, and beyond. */
export class LogWalk {
	readonly entries: LogEntry[] = [];
	/** What follows the anchored entry, or the superblock where that is anchored. */
	readonly ahead: AheadEntry[] = [];
	readonly #anchored: Buffer;
	#previous: Uint8Array;
	#hasArrived: boolean;
	#hasEnded = false;

	constructor(superblockHash: Uint8Array, anchored: Uint8Array) {
		this.#previous = superblockHash;
		this.#anchored = Buffer.from(anchored);
		this.#hasArrived = this.#anchored.equals(superblockHash);
	}

	/** True where the entries lead to the anchored hash. */
	get hasArrived(): boolean {
		return this.#hasArrived;
	}

	/** Takes the next block of the log; false where no further one is of use. */
	take(block: Buffer): boolean {
		const entry = this.#hasEnded
			? undefined
			: decodeLogEntry(block, this.#previous, this.entries.length + this.ahead.length);
		if (!entry) {
			this.#hasEnded = true;
			return false;
		}

		this.#previous = entry.hash;
		if (this.#hasArrived) {
			this.ahead.push({entry, block: Buffer.from(block)});
		} else {
			this.entries.push(entry);
			this.#hasArrived = this.#anchored.equals(entry.hash);
		}

		return true;
	}
}

/** Flushes that the trust anchor does not know. */
export interface FlushesAhead {
	/** Their entries, oldest flush first. */
	readonly whole: ReadonlyArray<readonly LogEntry[]>;
	/** Behind them one more lies there in part. */
	readonly isBegun: boolean;
}

/** Flushes behind the anchored one that nobody but who had the anchor's keys can have written. */
export async function authenticFlushes(
	anchored: Uint8Array,
	ahead: readonly AheadEntry[],
	keyAfter: (hash: Uint8Array) => Promise<Uint8Array>,
): Promise<FlushesAhead> {
	const whole: LogEntry[][] = [];
	let previous = anchored;
	for (let begin = 0; begin < ahead.length;) {
		const {flush} = ahead[begin].entry;
		const key = await keyAfter(previous);
		if (!flush || !isAuthentic(ahead[begin].block, key)) {
			break;
		}

		const part = ahead.slice(begin, begin + flush.left + 1);
		const isWhole =
			part.length === flush.left + 1 &&
			part.every(
				({entry, block}, i) =>
					entry.flush?.number === flush.number &&
					entry.flush.left === flush.left - i &&
					isAuthentic(block, key),
			);
		if (!isWhole) {
			return {whole, isBegun: true};
		}

		whole.push(part.map(({entry}) => entry));
		begin += part.length;
		previous = part[part.length - 1].entry.hash;
	}

	return {whole, isBegun: false};
}

/** The same where entries carry no authenticators: an entry that is not full is the last one of its flush. */
export function plainFlushes(ahead: readonly AheadEntry[]): FlushesAhead {
	const whole: LogEntry[][] = [];
	let part: LogEntry[] = [];
	for (const {entry} of ahead) {
		part.push(entry);
		if (entry.changes.vbas.length < changesPerBlock('plain')) {
			whole.push(part);
			part = [];
		}
	}

	return {whole, isBegun: part.length > 0};
}

/** All changes of a log, by ascending VBA, of each VBA the newest. */
export function newestChanges(entries: readonly LogEntry[]): LeafChanges {
	const places = new Map<Vba, {readonly entry: LogEntry; readonly index: number}>();
	for (const entry of entries) {
		for (const [index, vba] of entry.changes.vbas.entries()) {
			places.set(vba, {entry, index});
		}
	}

	const vbas = [...places.keys()].sort((a, b) => a - b);
	const labels = new Uint8Array(vbas.length * labelLength);
	const addresses: Pba[] = [];
	const leaves: Vba[] = [];
	for (const [i, vba] of vbas.entries()) {
		const {
			entry: {changes},
			index,
		} = places.get(vba)!;
		addresses.push(changes.addresses[index]);
		leaves.push(changes.leaves[index]);
		labels.set(changes.labels.subarray(index * labelLength, (index + 1) * labelLength), i * labelLength);
	}

	return {vbas, addresses, leaves, labels};
}
