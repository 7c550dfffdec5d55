/**
 * The names of the kept snapshots: one block, in one of two places that are used in turn. The superblock says which
 * place counts, and the block's SHA-256. The block is durable before the superblock that says so is written, and the
 * place that the secured superblock says is never written: so names survive a crash with the state that they belong to.
 *
 *        0   8   magic "CBE dir\0"
 *        8   4   number of names, 1 to 48
 *       12   4   zero
 *       16  64   each: generation of the snapshot (8), length of the name in bytes (1), name (48), zeroes (7)
 *
 * Where inner blocks are encrypted on the medium this block is, in the same way, and its SHA-256 is of the ciphertext.
 */
import {isSessionError, type Client} from '../../../runtime/sdk/session.js';
import type {block} from '../../sessions/block.js';
import type {crypto} from '../../sessions/crypto.js';
import type {Generation, Pba} from '../../sessions/vocabulary.js';
import {blockSize} from '../format/geometry.js';
import {openInner, sealInner} from './inner-blocks.js';
import {labelLength, labelOf} from '../format/label.js';
import {snapshotNameByteLengthMax, snapshotNameFault} from '../format/snapshot-name.js';
import {snapshotSlotCount, type Snapshot, type SnapshotDirectoryPlace, type Superblock} from '../format/superblock.js';
import {SuperblockError} from '../format/superblock-fields.js';

const magic = Buffer.from('CBE dir\0', 'latin1');
const firstEntry = 16;
const entrySize = 64;
const lengthOffset = 8;
const nameOffset = 9;

export type SnapshotNames = ReadonlyMap<Generation, string>;

/** The names that kept snapshots have. */
export function namesOf({snapshots}: Pick<Superblock, 'snapshots'>): SnapshotNames {
	return new Map(
		snapshots.flatMap(snapshot =>
			snapshot?.keep && snapshot.name !== undefined ? [[snapshot.root.generation, snapshot.name] as const] : [],
		),
	);
}

function areSameNames(a: SnapshotNames, b: SnapshotNames): boolean {
	return a.size === b.size && [...a].every(([generation, name]) => b.get(generation) === name);
}

export function encodeDirectory(names: SnapshotNames): Buffer {
	const view = Buffer.alloc(blockSize);
	view.set(magic);
	view.writeUInt32LE(names.size, 8);
	for (const [i, [generation, name]] of [...names].sort(([a], [b]) => a - b).entries()) {
		const offset = firstEntry + i * entrySize;
		view.writeBigUInt64LE(BigInt(generation), offset);
		view[offset + lengthOffset] = view.write(name, offset + nameOffset);
	}

	return view;
}

/** @throws SuperblockError where it is none */
export function decodeDirectory(bytes: Uint8Array): SnapshotNames {
	const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
	const count = view.readUInt32LE(8);
	if (!view.subarray(0, 8).equals(magic) || count === 0 || count > snapshotSlotCount) {
		throw new SuperblockError("the block with the snapshots' names is none");
	}

	const names = new Map<Generation, string>();
	for (let offset = firstEntry; offset < firstEntry + count * entrySize; offset += entrySize) {
		const length = Math.min(view[offset + lengthOffset], snapshotNameByteLengthMax);
		const name = view.toString('utf8', offset + nameOffset, offset + nameOffset + length);
		const fault = snapshotNameFault(name);
		if (fault !== undefined) {
			throw new SuperblockError(`the block with the snapshots' names: ${fault}`);
		}

		names.set(Number(view.readBigUInt64LE(offset)), name);
	}

	if (new Set(names.values()).size < count || !encodeDirectory(names).equals(view)) {
		throw new SuperblockError("the block with the snapshots' names is not in order");
	}

	return names;
}

/** The place's two blocks, of which one may count. */
export function directoryPba({firstPba, place}: SnapshotDirectoryPlace): Pba {
	return firstPba + place;
}

function requireServer(server: Client<typeof crypto> | undefined): Client<typeof crypto> {
	if (!server) {
		throw new Error('the names of snapshots are encrypted here, and there is no crypto server for them');
	}

	return server;
}

export interface DirectoryChange {
	readonly superblock: Superblock;
	/** What has to be durable before the superblock is written, and where. */
	readonly write?: {readonly address: Pba; readonly data: Buffer};
}

/**
 * Has the superblock that follows `before` say where its names lie; where they are the same they stay where they are.
 *
 * @param server has the key of the inner blocks, where these are encrypted
 */
export async function withDirectory(
	before: Superblock,
	superblock: Superblock,
	server: Client<typeof crypto> | undefined,
): Promise<DirectoryChange> {
	const directory = before.snapshotDirectory;
	const names = namesOf(superblock);
	if (!directory || (areSameNames(namesOf(before), names) && superblock.snapshots.some(snapshot => snapshot?.keep))) {
		return {superblock};
	}

	// Also where names were lost and the last snapshot is given up: then it is in order again.
	if (names.size === 0) {
		return {superblock: {...superblock, snapshotDirectory: {...directory, hash: new Uint8Array(labelLength)}}};
	}

	const data = encodeDirectory(names);
	const place = {...directory, place: directory.place === 0 ? 1 : 0} as const;
	const address = directoryPba(place);
	const hash = superblock.innerBlocks ? await sealInner(requireServer(server), [address], data) : labelOf(data);
	return {superblock: {...superblock, snapshotDirectory: {...place, hash}}, write: {address, data}};
}

/** What became of reading the names. */
export interface NamedSuperblock {
	/** With the names of its snapshots, as far as they could be read. */
	readonly superblock: Superblock;
	/** Why they could not be read. */
	readonly fault?: {readonly kind: 'damaged' | 'unreadable'; readonly text: string};
}

/** A name whose snapshot was given up while the names could not be read is nobody's. */
function withNames(superblock: Superblock, names: SnapshotNames): Superblock {
	const named = (snapshot: Snapshot): Snapshot => {
		const name = snapshot.keep ? names.get(snapshot.root.generation) : undefined;
		return name === undefined ? snapshot : {...snapshot, name};
	};

	return {...superblock, snapshots: superblock.snapshots.map(snapshot => snapshot && named(snapshot))};
}

/** True where snapshots have names that only a crypto server with the key of the inner blocks can tell. */
export function hasSealedNames({innerBlocks, snapshotDirectory}: Superblock): boolean {
	return innerBlocks !== undefined && snapshotDirectory?.hash.some(byte => byte !== 0) === true;
}

export interface NameReaders {
	readonly block: Pick<Client<typeof block>, 'read'>;
	/** With the key of the inner blocks, where these are encrypted. */
	readonly crypto?: Client<typeof crypto> | undefined;
}

/** Decrypts the block where it stands. False where it is not the one with this label. */
async function isStored(
	data: Buffer,
	{
		address,
		label,
		server,
	}: {readonly address: Pba; readonly label: Uint8Array; readonly server: Client<typeof crypto> | undefined},
): Promise<boolean> {
	return server
		? (await openInner(server, [address], {labels: label, blocks: data})).length === 0
		: labelOf(data).equals(label);
}

/**
 * Reads the names of the superblock's snapshots. They are no part of any content: without them everything else can be
 * used.
 */
export async function readNames(
	{block: medium, crypto: server}: NameReaders,
	superblock: Superblock,
): Promise<NamedSuperblock> {
	const directory = superblock.snapshotDirectory;
	if (!directory || directory.hash.every(byte => byte === 0)) {
		return {superblock};
	}

	const opener = superblock.innerBlocks && requireServer(server);

	const address = directoryPba(directory);
	const data = Buffer.alloc(blockSize);
	try {
		await medium.read({extents: [address, 1], data});
	} catch (error) {
		if (!isSessionError(error)) {
			throw error;
		}

		return {
			superblock,
			fault: {
				kind: 'unreadable',
				text: `the names of the snapshots (PBA ${address}) cannot be read: ${error.message}`,
			},
		};
	}

	if (!(await isStored(data, {address, label: directory.hash, server: opener}))) {
		return {
			superblock,
			fault: {
				kind: 'damaged',
				text: `the names of the snapshots (PBA ${address}) are not the ones that were stored`,
			},
		};
	}

	try {
		return {superblock: withNames(superblock, decodeDirectory(data))};
	} catch (error) {
		if (!(error instanceof SuperblockError)) {
			throw error;
		}

		return {superblock, fault: {kind: 'damaged', text: `${error.message} (PBA ${address})`}};
	}
}
