/** Superblocks as bytes: 4096 of them, in one of eight slots. */
import {blockSize, dimensionsFault, superblockSlotCount} from './geometry.js';
import {
	type Key,
	type PoolRoot,
	type Snapshot,
	type State,
	type Superblock,
	snapshotSlotCount,
	states,
} from './superblock.js';
import {authenticatorLength, copy, readNumber, readBoolean, check, offsets} from './superblock-fields.js';
import type {Pba} from '../../sessions/vocabulary.js';
import {decodeExtension, encodeExtension} from './superblock-extension.js';

const snapshotSize = 72;

/** In a snapshot slot: seconds since 1970, zero where they are not known. */
const timeOffset = 66;
const timeLength = 6;
const keyValueLength = 32;

/** Everything before it is authenticated. */
export const authenticatorOffset = blockSize - authenticatorLength;

/** An unused snapshot slot is not all zeroes. */
const unusedSnapshot = {address: 0xffff_ffff_ffff_ffffn, leafCount: 64n ** 4n, maxLevel: 5, id: 0xffff_ffff} as const;

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

/** What lies where a slot has its keys, in hex, whether or not the slot can be understood. */
export function wrappedKeysOf(block: Uint8Array): string[] {
	return [offsets.previousKey, offsets.currentKey]
		.map(offset => block.subarray(offset, offset + keyValueLength))
		.filter(key => key.some(byte => byte !== 0))
		.map(key => Buffer.from(key).toString('hex'));
}
