/**
 * The superblock: the root of everything, in one of eight slots at the beginning of the medium (format section 2).
 *
 * The original leaves the bytes from 3713 on zero. A container with a cipher that the original does not know says so
 * there, so that each reader refuses what it does not understand:
 *
 *     3713  8   magic "CBE ext\0"
 *     3721  4   version of this extension, 1 or 2
 *     3725  4   number of the cipher (components/sessions/cipher.ts)
 *     3729 16   container id, random
 *     3745  8   blocks that the current key has sealed at most, where the cipher is an authenticated one; else 0
 *     3753  8   the same for the previous key
 *     3761  8   first PBA of the flush log (flush-log.ts), where there is one
 *     3769  4   its number of blocks; 0 where there is none
 * 3773  4   how inner blocks lie on the medium: 0 as they are, 1 encrypted (inner-blocks.ts), and then there is no log
 *
 *     3777  4   version 2: features that a reader has to know (`featureBits`)
 * 3781 72   with implied inner blocks: the fresh trees, device, free tree and meta tree, of each: number of leaves,
 * first
 *               PBA of its inner blocks, first PBA of its leaves (fresh-layout.ts); else 0
 *     3853  8   with snapshot names: first of the two places of the snapshot directory (snapshot-directory.ts); else 0
 *     3861  4   the place that counts, 0 or 1
 *     3865 32   SHA-256 of the block there; zeroes where no snapshot has a name
 *     3897      zeroes
 *     4064 32   version 2: authenticator of everything before (superblock-authenticator.ts)
 *
 * A container keeps the version that it was created with: version 1 has neither features nor an authenticator.
 */
import {cipherOfNumber, ciphers, isAuthenticated, type CipherName} from '../../sessions/cipher.js';
import type {FreshTree, RootNode} from '../../sessions/tree-root.js';
import type {Generation, KeyId, Pba, Vba} from '../../sessions/vocabulary.js';
import type {FreshTrees} from './fresh-layout.js';
import {blockSize, dimensionsFault, superblockSlotCount} from './geometry.js';

export const snapshotSlotCount = 48;

/** Slots that snapshots of the user may occupy; two are needed for the current state and the last secured one. */
export const keptSnapshotCountMax = 46;

/** States by the number on the medium; 0 marks a slot that holds no superblock. */
export const states = {
	/** No operation is pending. */
	normal: 1,
	/** VBAs below `rekeyingVba` are sealed with the current key, the others with the previous one. */
	rekeying: 2,
	/** `resizing` PBAs are still to be added to the virtual block device. */
	extending_vbd: 3,
	/** `resizing` PBAs are still to be added to the free tree. */
	extending_ft: 4,
} as const;

type State = keyof typeof states;

/** What a reader has to know before it may use the container, by the bit in the extension's features. */
const featureBits = {
	/** Inner blocks below which nothing was ever changed need not lie on the medium (fresh-layout.ts). */
	implied_inner_blocks: 1,
	/** A leaf that was written and has a label of zeroes reads as zeroes; its block may still be a snapshot's. */
	emptied_leaves: 2,
	/** There are two places for a block with the names of the snapshots (snapshot-directory.ts). */
	snapshot_names: 4,
} as const satisfies Readonly<Record<string, number>>;

type Feature = keyof typeof featureBits;

export interface Key {
	/** The block key, encrypted by the trust anchor. */
	readonly wrapped: Uint8Array;
	readonly id: KeyId;
}

export interface Snapshot {
	readonly root: RootNode;
	readonly leafCount: number;
	readonly maxLevel: number;
	readonly keep: boolean;
	/** When it was taken, in seconds since 1970; undefined where that is not known, as in the original's containers. */
	readonly time?: number | undefined;
	/** Undefined where it has none, or where the snapshot directory has not been read. */
	readonly name?: string | undefined;
}

export interface PoolRoot {
	readonly root: RootNode;
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
	readonly fresh?: FreshTree | undefined;
}

export interface Superblock {
	readonly state: State;
	readonly rekeyingVba: Vba;
	readonly resizing: {readonly pbaCount: number; readonly leafCount: number};
	readonly previousKey: Key | undefined;
	readonly currentKey: Key;
	/** 48 slots; undefined where no valid snapshot is. */
	readonly snapshots: ReadonlyArray<Snapshot | undefined>;
	readonly currentSnapshot: number;
	readonly lastSecuredGeneration: Generation;
	readonly degree: number;
	readonly firstPba: Pba;
	readonly pbaCount: number;
	readonly freeTree: PoolRoot;
	readonly metaTree: PoolRoot;
	readonly cipher: CipherName;
	/** Undefined in containers that the original could have made. */
	readonly containerId: Uint8Array | undefined;
	/** Blocks that the keys of an authenticated cipher have sealed, at most; undefined for other ciphers. */
	readonly sealedBlockCounts?: {readonly current: number; readonly previous: number} | undefined;
	/** Undefined where inner blocks lie on the medium as they are. */
	readonly innerBlocks?: 'encrypted' | undefined;
	/**
	 * Undefined where the superblock carries no authenticator: with version 1 of the extension, and in the original's
	 * containers.
	 */
	readonly features?: readonly Feature[] | undefined;
	/** Where the trees lay when the container was created; undefined where every inner block lies on the medium. */
	readonly fresh?: FreshTrees | undefined;
	/** Undefined where every flush secures the whole state, as in the original's containers. */
	readonly flushLog?: FlushLogArea | undefined;
	/** Undefined where snapshots have no names. */
	readonly snapshotDirectory?: SnapshotDirectoryPlace | undefined;
}

/** Blocks of the snapshot directory, in use in turn. */
export const snapshotDirectoryBlockCount = 2;

/** Where the names of the snapshots lie. */
export interface SnapshotDirectoryPlace {
	/** The first of the two places. */
	readonly firstPba: Pba;
	/** The one that counts. */
	readonly place: 0 | 1;
	/** Of the block there; zeroes where no snapshot has a name. */
	readonly hash: Uint8Array;
}

/** Blocks behind the superblocks that belong to no tree. */
export function reservedBlockCount({flushLog, snapshotDirectory}: Superblock): number {
	return (flushLog?.blockCount ?? 0) + (snapshotDirectory ? snapshotDirectoryBlockCount : 0);
}

/** The blocks of the flush log. */
export interface FlushLogArea {
	readonly firstPba: Pba;
	readonly blockCount: number;
}

const offsets = {
	state: 0,
	rekeyingVba: 1,
	resizingPbas: 9,
	resizingLeaves: 17,
	previousKey: 25,
	currentKey: 61,
	snapshots: 97,
	lastSecuredGeneration: 3553,
	currentSnapshot: 3561,
	degree: 3565,
	firstPba: 3569,
	pbaCount: 3577,
	freeTree: 3585,
	metaTree: 3649,
	extension: 3713,
} as const;

const snapshotSize = 72;
/** In a snapshot slot: seconds since 1970, zero where they are not known. */
const timeOffset = 66;
const timeLength = 6;
const keyValueLength = 32;
const extensionMagic = Buffer.from('CBE ext\0', 'latin1');
/** The version of new containers; those of version 1 stay as they are. */
const extensionVersion = 2;
export const containerIdLength = 16;
/** Bytes of the extension that its versions give a meaning, but for the authenticator. */
const extensionLengths: Readonly<Record<number, number>> = {1: 64, 2: 184};
const freshTreesEnd = 140;
const directoryOffsets = {firstPba: 140, place: 148, hash: 152} as const;
/** Of the fresh trees in the extension, each of the same size. */
const freshTreeOffsets = {virtualBlockDevice: 68, freeTree: 92, metaTree: 116} as const;
const authenticatorLength = 32;
/** Everything before it is authenticated. */
export const authenticatorOffset = blockSize - authenticatorLength;

/** More blocks than this would make opening after a crash slow. */
export const flushLogBlockCountMax = 4096;

/** An unused snapshot slot is not all zeroes. */
const unusedSnapshot = {address: 0xffff_ffff_ffff_ffffn, leafCount: 64n ** 4n, maxLevel: 5, id: 0xffff_ffff} as const;

/** The superblock cannot be understood; the message says which field and why. */
export class SuperblockError extends Error {
	override readonly name = 'SuperblockError';
}

function check(condition: boolean, text: string): asserts condition {
	if (!condition) {
		throw new SuperblockError(text);
	}
}

function readNumber(view: Buffer, offset: number, what: string): number {
	const value = view.readBigUInt64LE(offset);
	check(value <= BigInt(Number.MAX_SAFE_INTEGER), `${what} is ${value}, beyond what a container can hold`);
	return Number(value);
}

function readBoolean(view: Buffer, offset: number, what: string): boolean {
	const value = view[offset];
	check(value <= 1, `${what} is ${value}, it must be 0 or 1`);
	return value === 1;
}

function copy(view: Buffer, offset: number, length: number): Uint8Array {
	return Uint8Array.from(view.subarray(offset, offset + length));
}

function decodeKey(view: Buffer, offset: number): Key | undefined {
	const id = view.readUInt32LE(offset + keyValueLength);
	return id === 0 ? undefined : {wrapped: copy(view, offset, keyValueLength), id};
}

function encodeKey(view: Buffer, offset: number, key: Key | undefined): void {
	if (key) {
		view.set(key.wrapped, offset);
		view.writeUInt32LE(key.id, offset + keyValueLength);
	}
}

function decodeSnapshot(view: Buffer, slot: number, hasTimes: boolean): Snapshot | undefined {
	const offset = offsets.snapshots + slot * snapshotSize;
	if (!readBoolean(view, offset + 60, `the valid flag of snapshot slot ${slot}`)) {
		return undefined;
	}

	return {
		root: {
			hash: copy(view, offset, 32),
			address: readNumber(view, offset + 32, `the PBA of snapshot slot ${slot}`),
			generation: readNumber(view, offset + 40, `the generation of snapshot slot ${slot}`),
		},
		leafCount: readNumber(view, offset + 48, `the number of leaves of snapshot slot ${slot}`),
		maxLevel: view.readUInt32LE(offset + 56),
		keep: readBoolean(view, offset + 65, `the keep flag of snapshot slot ${slot}`),
		...(hasTimes && decodeTime(view, offset + timeOffset)),
	};
}

function decodeTime(view: Buffer, offset: number): Pick<Snapshot, 'time'> {
	const time = view.readUIntLE(offset, timeLength);
	return time === 0 ? {} : {time};
}

function encodeSnapshot(view: Buffer, slot: number, snapshot: Snapshot | undefined): void {
	const offset = offsets.snapshots + slot * snapshotSize;
	if (snapshot) {
		view.fill(0, offset, offset + snapshotSize);
		view.set(snapshot.root.hash, offset);
		view.writeBigUInt64LE(BigInt(snapshot.root.address), offset + 32);
		view.writeBigUInt64LE(BigInt(snapshot.root.generation), offset + 40);
		view.writeBigUInt64LE(BigInt(snapshot.leafCount), offset + 48);
		view.writeUInt32LE(snapshot.maxLevel, offset + 56);
		view[offset + 60] = 1;
		view[offset + 65] = snapshot.keep ? 1 : 0;
		view.writeUIntLE(snapshot.time ?? 0, offset + timeOffset, timeLength);
		return;
	}

	view.writeBigUInt64LE(unusedSnapshot.address, offset + 32);
	view.writeBigUInt64LE(unusedSnapshot.address, offset + 40);
	view.writeBigUInt64LE(unusedSnapshot.leafCount, offset + 48);
	view.writeUInt32LE(unusedSnapshot.maxLevel, offset + 56);
	view.writeUInt32LE(unusedSnapshot.id, offset + 61);
}

function checkRootAddress(address: Pba, pbaCount: number, what: string): void {
	check(
		address >= superblockSlotCount && address < pbaCount,
		`${what} points to PBA ${address}, its blocks lie from ${superblockSlotCount} to ${pbaCount - 1}`,
	);
}

function decodePool(view: Buffer, offset: number, what: string): PoolRoot {
	const root: PoolRoot = {
		root: {
			generation: readNumber(view, offset, `the generation of the ${what}`),
			address: readNumber(view, offset + 8, `the PBA of the ${what}`),
			hash: copy(view, offset + 16, 32),
		},
		maxLevel: view.readUInt32LE(offset + 48),
		degree: view.readUInt32LE(offset + 52),
		leafCount: readNumber(view, offset + 56, `the number of leaves of the ${what}`),
	};
	const fault = dimensionsFault(root, true);
	check(fault === undefined, `${what}: ${fault?.text}`);
	return root;
}

function encodePool(view: Buffer, offset: number, {root, maxLevel, degree, leafCount}: PoolRoot): void {
	view.writeBigUInt64LE(BigInt(root.generation), offset);
	view.writeBigUInt64LE(BigInt(root.address), offset + 8);
	view.set(root.hash, offset + 16);
	view.writeUInt32LE(maxLevel, offset + 48);
	view.writeUInt32LE(degree, offset + 52);
	view.writeBigUInt64LE(BigInt(leafCount), offset + 56);
}

type Extension = Pick<
	Superblock,
	| 'cipher'
	| 'containerId'
	| 'sealedBlockCounts'
	| 'flushLog'
	| 'innerBlocks'
	| 'features'
	| 'fresh'
	| 'snapshotDirectory'
>;

function decodeFeatures(bits: number): Feature[] {
	const names = (Object.keys(featureBits) as Feature[]).filter(name => (bits & featureBits[name]) !== 0);
	const unknown = (bits & ~encodeFeatures(names)) >>> 0;
	check(
		unknown === 0,
		`the container uses features (0x${unknown.toString(16)}) that this version does not know; use a newer version`,
	);
	return names;
}

function encodeFeatures(features: readonly Feature[]): number {
	return features.reduce((bits, name) => bits | featureBits[name], 0);
}

function decodeFreshTree(area: Buffer, offset: number, pbaCount: number): FreshTree {
	const leafCount = readNumber(area, offset, 'the number of leaves of a fresh tree');
	const firstInner = readNumber(area, offset + 8, 'the first inner block of a fresh tree');
	const firstLeaf = readNumber(area, offset + 16, 'the first leaf of a fresh tree');
	check(
		leafCount > 0 &&
			firstInner >= superblockSlotCount &&
			firstInner < firstLeaf &&
			firstLeaf + leafCount <= pbaCount,
		`a fresh tree of ${leafCount} leaves at PBA ${firstLeaf} does not fit the container`,
	);
	return {leafCount, firstInner, firstLeaf};
}

function decodeFresh(area: Buffer, pbaCount: number): FreshTrees {
	const {virtualBlockDevice, freeTree, metaTree} = freshTreeOffsets;
	return {
		virtualBlockDevice: decodeFreshTree(area, virtualBlockDevice, pbaCount),
		freeTree: decodeFreshTree(area, freeTree, pbaCount),
		metaTree: decodeFreshTree(area, metaTree, pbaCount),
	};
}

function encodeFresh(area: Buffer, fresh: FreshTrees): void {
	for (const [name, offset] of Object.entries(freshTreeOffsets) as Array<[keyof FreshTrees, number]>) {
		const {leafCount, firstInner, firstLeaf} = fresh[name];
		area.writeBigUInt64LE(BigInt(leafCount), offset);
		area.writeBigUInt64LE(BigInt(firstInner), offset + 8);
		area.writeBigUInt64LE(BigInt(firstLeaf), offset + 16);
	}
}

function decodeFlushLog(area: Buffer, pbaCount: number): FlushLogArea | undefined {
	const firstPba = readNumber(area, 48, 'the first PBA of the flush log');
	const blockCount = area.readUInt32LE(56);
	if (firstPba === 0 && blockCount === 0) {
		return undefined;
	}

	check(
		blockCount > 0 &&
			blockCount <= flushLogBlockCountMax &&
			firstPba >= superblockSlotCount &&
			firstPba + blockCount <= pbaCount,
		`the flush log of ${blockCount} blocks at PBA ${firstPba} does not fit the container`,
	);
	return {firstPba, blockCount};
}

function decodeDirectoryPlace(area: Buffer, pbaCount: number): SnapshotDirectoryPlace {
	const firstPba = readNumber(area, directoryOffsets.firstPba, 'the first PBA of the snapshot directory');
	const place = area.readUInt32LE(directoryOffsets.place);
	check(
		firstPba >= superblockSlotCount && firstPba + snapshotDirectoryBlockCount <= pbaCount,
		`the snapshot directory at PBA ${firstPba} does not fit the container`,
	);
	check(place === 0 || place === 1, `the snapshot directory has two places, and no place ${place}`);
	return {firstPba, place, hash: copy(area, directoryOffsets.hash, 32)};
}

function encodeDirectoryPlace(area: Buffer, {firstPba, place, hash}: SnapshotDirectoryPlace): void {
	area.writeBigUInt64LE(BigInt(firstPba), directoryOffsets.firstPba);
	area.writeUInt32LE(place, directoryOffsets.place);
	area.set(hash, directoryOffsets.hash);
}

function decodeExtension(view: Buffer, pbaCount: number): Extension {
	const area = view.subarray(offsets.extension);
	if (area.every(byte => byte === 0)) {
		return {cipher: 'aes-256-cbc-essiv', containerId: undefined};
	}

	check(
		area.subarray(0, 8).equals(extensionMagic),
		'the superblock carries an extension that this version does not know',
	);
	const version = area.readUInt32LE(8);
	const extensionLength = extensionLengths[version];
	check(
		extensionLength !== undefined,
		`the container has format version ${version}, this version reads up to ${extensionVersion}; use a newer one`,
	);
	const number = area.readUInt32LE(12);
	const cipher = cipherOfNumber(number);
	check(
		cipher !== undefined && number !== 0,
		`the container uses cipher number ${number}, which this version does not know; use a newer one`,
	);
	const containerId = copy(area, 16, containerIdLength);
	const end = version === 1 ? area.length : area.length - authenticatorLength;
	const unused = [area.subarray(extensionLength, end), ...(isAuthenticated(cipher) ? [] : [area.subarray(32, 48)])];
	check(
		unused.every(part => part.every(byte => byte === 0)),
		'the superblock carries an extension that this version does not know',
	);
	const flushLog = decodeFlushLog(area, pbaCount);
	const features = version === 1 ? undefined : decodeFeatures(area.readUInt32LE(64));
	const isImplied = features?.includes('implied_inner_blocks') === true;
	const hasDirectory = features?.includes('snapshot_names') === true;
	check(
		isImplied || area.subarray(freshTreeOffsets.virtualBlockDevice, freshTreesEnd).every(byte => byte === 0),
		'the superblock carries an extension that this version does not know',
	);
	check(
		hasDirectory || area.subarray(directoryOffsets.firstPba, extensionLengths[2]).every(byte => byte === 0),
		'the superblock carries an extension that this version does not know',
	);
	const innerBlocks = area.readUInt32LE(60);
	check(
		innerBlocks === 0 || (innerBlocks === 1 && cipher !== 'none' && !flushLog),
		'the superblock carries an extension that this version does not know',
	);
	return {
		cipher,
		containerId,
		...(isAuthenticated(cipher) && {
			sealedBlockCounts: {
				current: readNumber(area, 32, 'the number of sealed blocks'),
				previous: readNumber(area, 40, 'the number of blocks sealed before'),
			},
		}),
		...(flushLog && {flushLog}),
		...(innerBlocks === 1 && {innerBlocks: 'encrypted'}),
		...(features && {features}),
		...(isImplied && {fresh: decodeFresh(area, pbaCount)}),
		...(hasDirectory && {snapshotDirectory: decodeDirectoryPlace(area, pbaCount)}),
	};
}

function encodeExtension(
	view: Buffer,
	{cipher, containerId, sealedBlockCounts, flushLog, innerBlocks, features, fresh, snapshotDirectory}: Superblock,
): void {
	if (containerId === undefined) {
		check(features === undefined, 'a container with features needs a container id');
		check(flushLog === undefined, 'a container with a flush log needs a container id');
		check(cipher === 'aes-256-cbc-essiv' && !innerBlocks, `a container with cipher ${cipher} needs a container id`);
		return;
	}

	const area = view.subarray(offsets.extension);
	area.set(extensionMagic);
	area.writeUInt32LE(features ? extensionVersion : 1, 8);
	area.writeUInt32LE(ciphers[cipher].number, 12);
	area.set(containerId, 16);
	if (isAuthenticated(cipher) && sealedBlockCounts) {
		area.writeBigUInt64LE(BigInt(sealedBlockCounts.current), 32);
		area.writeBigUInt64LE(BigInt(sealedBlockCounts.previous), 40);
	}

	if (flushLog) {
		area.writeBigUInt64LE(BigInt(flushLog.firstPba), 48);
		area.writeUInt32LE(flushLog.blockCount, 56);
	}

	area.writeUInt32LE(innerBlocks ? 1 : 0, 60);
	area.writeUInt32LE(encodeFeatures(features ?? []), 64);
	if (fresh) {
		encodeFresh(area, fresh);
	}

	if (snapshotDirectory) {
		encodeDirectoryPlace(area, snapshotDirectory);
	}
}

function checkSnapshots({snapshots, currentSnapshot, degree, pbaCount}: Superblock): void {
	check(
		currentSnapshot < snapshotSlotCount && snapshots[currentSnapshot] !== undefined,
		`the current snapshot slot ${currentSnapshot} holds no snapshot`,
	);
	for (const [slot, snapshot] of snapshots.entries()) {
		if (snapshot) {
			const fault = dimensionsFault({...snapshot, degree}, false);
			check(fault === undefined, `snapshot slot ${slot}: ${fault?.text}`);
			checkRootAddress(snapshot.root.address, pbaCount, `snapshot slot ${slot}`);
		}
	}
}

/**
 * True where a rekeying is under way and the key before it was never stored: the original writes 32 zero bytes in its
 * place. Blocks from the rekeying VBA on can then be opened by nobody.
 */
export function hasLostPreviousKey({state, previousKey}: Superblock): boolean {
	return state === 'rekeying' && previousKey?.wrapped.every(byte => byte === 0) === true;
}

/** True where the slot says that it holds no superblock. */
export function isUnusedSlot(block: Uint8Array): boolean {
	return block[0] === 0;
}

/** Decodes a slot that holds a superblock. @throws SuperblockError */
export function decodeSuperblock(block: Uint8Array): Superblock {
	const view = Buffer.from(block.buffer, block.byteOffset, block.byteLength);
	const stateNumber = view[offsets.state];
	const state = (Object.keys(states) as State[]).find(name => states[name] === stateNumber);
	check(state !== undefined, `the state is ${stateNumber}, which this version does not know`);
	const currentKey = decodeKey(view, offsets.currentKey);
	check(currentKey !== undefined, 'there is no current key');
	const pbaCount = readNumber(view, offsets.pbaCount, 'the number of PBAs');
	const extension = decodeExtension(view, pbaCount);
	const superblock: Superblock = {
		state,
		rekeyingVba: readNumber(view, offsets.rekeyingVba, 'the rekeying VBA'),
		resizing: {
			pbaCount: readNumber(view, offsets.resizingPbas, 'the number of PBAs left to add'),
			leafCount: readNumber(view, offsets.resizingLeaves, 'the number of added leaves'),
		},
		previousKey: decodeKey(view, offsets.previousKey),
		currentKey,
		snapshots: Array.from({length: snapshotSlotCount}, (_, slot) =>
			decodeSnapshot(view, slot, extension.features !== undefined),
		),
		currentSnapshot: view.readUInt32LE(offsets.currentSnapshot),
		lastSecuredGeneration: readNumber(view, offsets.lastSecuredGeneration, 'the last secured generation'),
		degree: view.readUInt32LE(offsets.degree),
		firstPba: readNumber(view, offsets.firstPba, 'the first PBA'),
		pbaCount,
		freeTree: {
			...decodePool(view, offsets.freeTree, 'free tree'),
			...(extension.fresh && {fresh: extension.fresh.freeTree}),
		},
		metaTree: {
			...decodePool(view, offsets.metaTree, 'meta tree'),
			...(extension.fresh && {fresh: extension.fresh.metaTree}),
		},
		...extension,
	};
	check(
		state !== 'rekeying' || superblock.previousKey !== undefined,
		'a rekeying is under way, but there is no previous key',
	);
	check(superblock.firstPba === 0, `the first PBA is ${superblock.firstPba}, it must be 0`);
	checkRootAddress(superblock.freeTree.root.address, superblock.pbaCount, 'free tree');
	checkRootAddress(superblock.metaTree.root.address, superblock.pbaCount, 'meta tree');
	checkSnapshots(superblock);
	return superblock;
}

/** A block with nothing but unused snapshot slots. */
function encodeUnusedSnapshots(): Buffer {
	const view = Buffer.alloc(blockSize);
	for (let slot = 0; slot < snapshotSlotCount; slot++) {
		encodeSnapshot(view, slot, undefined);
	}

	return view;
}

const unusedSnapshots = encodeUnusedSnapshots();

/** Encodes a superblock into a block of its own. Where it carries an authenticator, that is still zero. */
export function encodeSuperblock(superblock: Superblock): Buffer {
	const view = Buffer.from(unusedSnapshots);
	view[offsets.state] = states[superblock.state];
	view.writeBigUInt64LE(BigInt(superblock.rekeyingVba), offsets.rekeyingVba);
	view.writeBigUInt64LE(BigInt(superblock.resizing.pbaCount), offsets.resizingPbas);
	view.writeBigUInt64LE(BigInt(superblock.resizing.leafCount), offsets.resizingLeaves);
	encodeKey(view, offsets.previousKey, superblock.previousKey);
	encodeKey(view, offsets.currentKey, superblock.currentKey);
	for (let slot = 0; slot < snapshotSlotCount; slot++) {
		// Most slots are unused, and each secured state encodes all of them.
		if (superblock.snapshots[slot]) {
			encodeSnapshot(view, slot, superblock.snapshots[slot]);
		}
	}

	view.writeBigUInt64LE(BigInt(superblock.lastSecuredGeneration), offsets.lastSecuredGeneration);
	view.writeUInt32LE(superblock.currentSnapshot, offsets.currentSnapshot);
	view.writeUInt32LE(superblock.degree, offsets.degree);
	view.writeBigUInt64LE(BigInt(superblock.firstPba), offsets.firstPba);
	view.writeBigUInt64LE(BigInt(superblock.pbaCount), offsets.pbaCount);
	encodePool(view, offsets.freeTree, superblock.freeTree);
	encodePool(view, offsets.metaTree, superblock.metaTree);
	encodeExtension(view, superblock);
	return view;
}

/** A slot that holds no superblock, as a fresh container has seven of them. */
export function encodeUnusedSlot(): Buffer {
	const view = Buffer.from(unusedSnapshots);
	const emptyDegree = 2;
	view.writeUInt32LE(emptyDegree, offsets.degree);
	view.writeUInt32LE(emptyDegree, offsets.freeTree + 52);
	view.writeUInt32LE(emptyDegree, offsets.metaTree + 52);
	return view;
}

/**
 * A slot in which a crash has left a part of a superblock, emptied. It is zero, not as in a fresh container: each
 * sector of a superblock has something else, so that where this write is torn, too, its sectors cannot make that
 * superblock whole.
 */
export function encodeEmptiedSlot(): Buffer {
	return Buffer.alloc(blockSize);
}

/**
 * No block that the superblock refers to is of a newer generation. The original secures its generation minus one where
 * it has just created a snapshot; an older version of ours left the newest snapshot behind its pool trees.
 */
export function newestGenerationOf({
	snapshots,
	currentSnapshot,
	lastSecuredGeneration,
	freeTree,
	metaTree,
}: Superblock): Generation {
	return Math.max(
		snapshots[currentSnapshot]?.root.generation ?? 0,
		lastSecuredGeneration,
		freeTree.root.generation,
		metaTree.root.generation,
	);
}

/** What lies where a slot has its keys, in hex, whether or not the slot can be understood. */
export function wrappedKeysOf(block: Uint8Array): string[] {
	return [offsets.previousKey, offsets.currentKey]
		.map(offset => block.subarray(offset, offset + keyValueLength))
		.filter(key => key.some(byte => byte !== 0))
		.map(key => Buffer.from(key).toString('hex'));
}

/** The slot to write after `slot`. */
export function nextSlot(slot: number): number {
	return (slot + 1) % superblockSlotCount;
}
