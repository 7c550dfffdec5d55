/** The extension of a superblock, which the original does not know (format section 5): cipher, flush log, features, names. */
import {superblockSlotCount} from './geometry.js';
import type {FreshTree} from '../../sessions/tree-root.js';
import {authenticatorLength, check, copy, offsets, readNumber} from './superblock-fields.js';
import {
	type Feature,
	featureBits,
	flushLogBlockCountMax,
	type FlushLogArea,
	type Superblock,
	type SnapshotDirectoryPlace,
	snapshotDirectoryBlockCount,
	containerIdLength,
} from './superblock.js';
import type {FreshTrees} from './fresh-layout.js';
import {cipherOfNumber, ciphers, isAuthenticated} from '../../sessions/cipher.js';

const extensionMagic = Buffer.from('CBE ext\0', 'latin1');

/** The version of new containers; those of version 1 stay as they are. */
const extensionVersion = 2;

/** Bytes of the extension that its versions give a meaning, but for the authenticator. */
const extensionLengths: Readonly<Record<number, number>> = {1: 64, 2: 184};
const freshTreesEnd = 140;
const directoryOffsets = {firstPba: 140, place: 148, hash: 152} as const;

/** Of the fresh trees in the extension, each of the same size. */
const freshTreeOffsets = {virtualBlockDevice: 68, freeTree: 92, metaTree: 116} as const;

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

export function decodeExtension(view: Buffer, pbaCount: number): Extension {
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

export function encodeExtension(
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
