/**
 * The flush log: what was written since the last secured state, so that a flush costs one block of the medium instead of
 * every changed inner block. The trust anchor keeps the hash of the newest entry; each entry names the hash of the one
 * before it, the first one that of the superblock. So the anchor vouches for the superblock and all of the entries, in
 * their order, and for nothing else: no entry can be altered, left out, added or put back.
 *
 * An entry is one block:
 *
 *       0  8   magic "CBE log\0"
 *       8  4   version, 1
 *      12  4   number of changes
 *      16  8   generation that the changes carry
 *      24  8   position in the log
 *      32 32   hash (SHA-256) of the block before it in the log, or of the superblock
 *      64 56n  changes: VBA 8 · PBA 8 · leaf of the free tree that the PBA was taken from, all ones where none was 8 · label 32
 *
 * The rest is zero. A change says where a block of the current tree now lies and which label it has. An older change of
 * the same VBA is overridden. The log counts only with state `normal`, and only until the next superblock is secured.
 */
import type {Generation, Pba, Vba} from './addresses.js';
import {blockSize} from './geometry.js';
import {labelLength, labelOf} from './label.js';
import type {FlushLogArea} from './superblock.js';

const magic = Buffer.from('CBE log\0', 'latin1');
const version = 1;
const headerLength = 64;
const changeLength = 56;

/** Changes in one block. */
export const changesPerBlock = (blockSize - headerLength) / changeLength;

const noLeaf = 0xffff_ffff_ffff_ffffn;

/** Changes of leaves, as vectors: the `i`th of each belongs together. */
export interface LeafChanges {
	readonly vbas: Vba[];
	readonly addresses: Pba[];
	/** Leaves of the free tree whose blocks the addresses were in the last secured state; -1 where it was the leaf's own. */
	readonly leaves: Vba[];
	/** 32 bytes each. */
	readonly labels: Uint8Array;
}

export interface LogEntry {
	readonly generation: Generation;
	readonly changes: LeafChanges;
	/** Of the whole block. */
	readonly hash: Uint8Array;
}

/** Appends to the log of one secured state after the other. */
export class FlushLog {
	readonly #area: FlushLogArea;
	#position = 0;
	#lastHash: Uint8Array;

	/** @param superblockHash of the secured superblock */
	constructor(area: FlushLogArea, superblockHash: Uint8Array) {
		this.#area = area;
		this.#lastHash = superblockHash;
	}

	/** Changes that still fit. */
	get room(): number {
		return (this.#area.blockCount - this.#position) * changesPerBlock;
	}

	/** Another superblock has been secured: what was logged is part of it. */
	restart(superblockHash: Uint8Array): void {
		this.#position = 0;
		this.#lastHash = superblockHash;
	}

	/** Blocks for the changes and where they have to lie. They count once `hash` is anchored; then they must be noted. */
	encode(changes: LeafChanges, generation: Generation): {firstPba: Pba; data: Buffer; hash: Uint8Array} {
		const count = changes.vbas.length;
		const blockCount = Math.ceil(count / changesPerBlock);
		const data = Buffer.alloc(blockCount * blockSize);
		let hash = this.#lastHash;
		for (let i = 0; i < blockCount; i++) {
			const block = data.subarray(i * blockSize, (i + 1) * blockSize);
			const first = i * changesPerBlock;
			magic.copy(block);
			block.writeUInt32LE(version, 8);
			block.writeUInt32LE(Math.min(changesPerBlock, count - first), 12);
			writeNumber(block, generation, 16);
			writeNumber(block, this.#position + i, 24);
			block.set(hash, 32);
			encodeChanges(block, changes, first);
			hash = labelOf(block);
		}

		return {firstPba: this.#area.firstPba + this.#position, data, hash};
	}

	/** Blocks that `encode` made are anchored. */
	note({data, hash}: {readonly data: Uint8Array; readonly hash: Uint8Array}): void {
		this.#position += data.length / blockSize;
		this.#lastHash = hash;
	}
}

/** Below 2^53; two halves are quicker than a bigint. */
function writeNumber(block: Buffer, value: number, offset: number): void {
	block.writeUInt32LE(value % 2 ** 32, offset);
	block.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}

function encodeChanges(block: Buffer, {vbas, addresses, leaves, labels}: LeafChanges, first: number): void {
	const end = Math.min(vbas.length, first + changesPerBlock);
	for (let i = first, offset = headerLength; i < end; i++, offset += changeLength) {
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

/** Decodes the entry that follows the one with hash `previous` at `position`; undefined where the block is no such entry. */
export function decodeLogEntry(block: Buffer, previous: Uint8Array, position: number): LogEntry | undefined {
	const count = block.readUInt32LE(12);
	const isNext = block.subarray(0, 8).equals(magic) && block.readUInt32LE(8) === version && count > 0 && count <= changesPerBlock
		&& block.readBigUInt64LE(24) === BigInt(position) && block.subarray(32, headerLength).equals(previous);
	if (!isNext) {
		return undefined;
	}

	const changes = {vbas: [] as Vba[], addresses: [] as Pba[], leaves: [] as Vba[], labels: new Uint8Array(count * labelLength)};
	for (let i = 0, offset = headerLength; i < count; i++, offset += changeLength) {
		changes.vbas.push(Number(block.readBigUInt64LE(offset)));
		changes.addresses.push(Number(block.readBigUInt64LE(offset + 8)));
		const leaf = block.readBigUInt64LE(offset + 16);
		changes.leaves.push(leaf === noLeaf ? -1 : Number(leaf));
		changes.labels.set(block.subarray(offset + 24, offset + changeLength), i * labelLength);
	}

	return {generation: Number(block.readBigUInt64LE(16)), changes, hash: labelOf(block)};
}

/** The way through a log, block by block, from a superblock to the hash that the trust anchor keeps. */
export class LogWalk {
	readonly entries: LogEntry[] = [];
	readonly #anchored: Buffer;
	#previous: Uint8Array;
	#state: 'under way' | 'arrived' | 'lost' = 'under way';

	constructor(superblockHash: Uint8Array, anchored: Uint8Array) {
		this.#previous = superblockHash;
		this.#anchored = Buffer.from(anchored);
	}

	/** True where the entries lead to the anchored hash. */
	get hasArrived(): boolean {
		return this.#state === 'arrived';
	}

	/** Takes the next block of the log; false where no further one is of use. */
	take(block: Buffer): boolean {
		const entry = this.#state === 'under way' ? decodeLogEntry(block, this.#previous, this.entries.length) : undefined;
		if (!entry) {
			this.#state = this.hasArrived ? 'arrived' : 'lost';
			return false;
		}

		this.entries.push(entry);
		this.#previous = entry.hash;
		this.#state = this.#anchored.equals(entry.hash) ? 'arrived' : 'under way';
		return !this.hasArrived;
	}
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
		const {entry: {changes}, index} = places.get(vba)!;
		addresses.push(changes.addresses[index]);
		leaves.push(changes.leaves[index]);
		labels.set(changes.labels.subarray(index * labelLength, (index + 1) * labelLength), i * labelLength);
	}

	return {vbas, addresses, leaves, labels};
}
