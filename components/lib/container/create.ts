/**
 * Creates a container. The order makes every crash harmless: until the first superblock is anchored *and* written
 * nothing counts as a container, and a creation that was cut short is recognised and begun anew. Whatever could be
 * somebody's data is never overwritten.
 */
import type {Environment} from '../../../runtime/sdk/component.js';
import type {Client} from '../../../runtime/sdk/session.js';
import type {block} from '../../sessions/block.js';
import type {ContainerDimensions} from '../format/dimensions-config.js';
import {decodeLogEntry} from '../format/flush-log.js';
import {blockSize, freshPbaCount, superblockSlotCount} from '../format/geometry.js';
import {layOut, layoutBlockCount, type ContainerPlan} from '../format/initialize.js';
import {labelOf} from '../format/label.js';
import {readSuperblockSearch, type ContainerSessions} from './open-container.js';
import {anchoredSlot, readSlot, type SuperblockSearch, ContainerError} from '../format/superblock-search.js';
import {sealSuperblock} from './superblock-authenticator.js';
import {containerIdLength, snapshotDirectoryBlockCount} from '../format/superblock.js';
import {encodeUnusedSlot} from '../format/superblock-codec.js';

const firstKeyId = 1;
/** The smallest part of a block that a medium writes whole. */
const sectorSize = 512;
const progressIntervalMs = 2000;
/**
 * Where other formats keep what they are known by: some leave the first 32 or 64 KiB alone, some write at the end too.
 */
const markedStartBlockCount = 1024;
const markedEndBlockCount = 64;

export interface Creation extends ContainerSessions {
	readonly env: Pick<Environment, 'log' | 'now' | 'randomBytes'>;
	readonly plan: ContainerDimensions;
}

function isZero(block: Uint8Array): boolean {
	return block.every(byte => byte === 0);
}

/** True where a creation has prepared the slot, and nothing else would have written exactly this. */
function isPrepared(block: Uint8Array): boolean {
	return encodeUnusedSlot().equals(block);
}

/** True where each sector of the slot is zero or prepared: a loss of power may tear a slot that was being prepared. */
function isZeroOrBeingPrepared(block: Uint8Array): boolean {
	const prepared = encodeUnusedSlot();
	for (let offset = 0; offset < blockSize; offset += sectorSize) {
		const sector = block.subarray(offset, offset + sectorSize);
		if (!isZero(sector) && !prepared.subarray(offset, offset + sectorSize).equals(sector)) {
			return false;
		}
	}

	return true;
}

function occupiedBy(pba: number): string {
	return `block ${pba} of the image is not empty; nothing was overwritten: use an empty image`;
}

/** Why no container may be created here, undefined where nothing can be lost. */
function creationObstacle({slots, secured}: Pick<SuperblockSearch, 'slots' | 'secured'>): string | undefined {
	if (secured && !secured.creating) {
		return 'the trust anchor has secured a container already; give the new container a trust anchor of its own';
	}

	if (anchoredSlot(slots, secured) !== undefined) {
		return 'the image holds the container of this trust anchor already';
	}

	const [first, ...others] = slots;
	const occupied = others.findIndex(slot => !isZeroOrBeingPrepared(slot));
	if (occupied !== -1) {
		return occupiedBy(occupied + 1);
	}

	if (isZero(first) || (secured?.creating && isBegun(slots) && mayBeTornSuperblock(slots))) {
		return undefined;
	}

	return occupiedBy(0);
}

/**
 * True where a creation has marked the image: it found it empty, and prepared all slots but the first one durably
 * before it wrote anything else. So all that lies there, it has written itself.
 */
function isBegun([, ...others]: readonly Uint8Array[]): boolean {
	return others.every(slot => isPrepared(slot));
}

/**
 * Sectors of a first superblock that differ from those of a prepared slot: keys, the one snapshot, and what follows the
 * snapshots.
 */
const ownSectors = new Set([0, 6, 7]);

/** False where slot 0 is more than the torn first superblock of an interrupted creation, or something else. */
function mayBeTornSuperblock(slots: readonly Uint8Array[]): boolean {
	const read = readSlot(slots, 0);
	const prepared = encodeUnusedSlot();
	for (let sector = 0; sector < blockSize / sectorSize; sector++) {
		const content = slots[0].subarray(sector * sectorSize, (sector + 1) * sectorSize);
		if (
			!ownSectors.has(sector) &&
			!isZero(content) &&
			!prepared.subarray(sector * sectorSize, (sector + 1) * sectorSize).equals(content)
		) {
			return false;
		}
	}

	return read === undefined || 'fault' in read || read.superblock.lastSecuredGeneration === 0;
}

/** A container of somebody else may still be in its first generation, and all that was flushed be in its log. */
async function isInUse(
	medium: Client<typeof block>,
	{slots, secured, mediumBlockCount}: SuperblockSearch,
): Promise<boolean> {
	const read = readSlot(slots, 0);
	const log = read && 'superblock' in read ? read.superblock.flushLog : undefined;
	if (!log || log.firstPba >= mediumBlockCount || secured?.hash.every((byte, i) => byte === labelOf(slots[0])[i])) {
		return false;
	}

	const entry = Buffer.alloc(blockSize);
	await medium.read({extents: [log.firstPba, 1], data: entry});
	return decodeLogEntry(entry, labelOf(slots[0]), 0) !== undefined;
}

/** The first block of the range that is not zero. */
async function firstUsedBlock(medium: Client<typeof block>, first: number, count: number): Promise<number | undefined> {
	const data = Buffer.alloc(count * blockSize);
	await medium.read({extents: [first, count], data});
	const used = data.findIndex(byte => byte !== 0);
	return used === -1 ? undefined : first + Math.floor(used / blockSize);
}

/**
 * A medium that no creation has marked must be empty where somebody else's data would show, beyond the superblocks,
 * too; those have been looked at, and some may have been prepared.
 */
async function foreignBlock(medium: Client<typeof block>): Promise<number | undefined> {
	const {blockCount} = await medium.geometry({});
	const startCount = Math.min(markedStartBlockCount, blockCount);
	const endCount = Math.min(markedEndBlockCount, blockCount - startCount);
	const atStart =
		startCount > superblockSlotCount
			? await firstUsedBlock(medium, superblockSlotCount, startCount - superblockSlotCount)
			: undefined;
	return atStart ?? (endCount > 0 ? firstUsedBlock(medium, blockCount - endCount, endCount) : undefined);
}

/** Durable before anything else is written: a creation that is cut short is known by it. */
async function markBegun(medium: Client<typeof block>): Promise<void> {
	const slots = Buffer.concat(Array.from({length: superblockSlotCount - 1}, () => encodeUnusedSlot()));
	await medium.write({extents: [1, superblockSlotCount - 1], data: slots});
	await medium.sync({});
}

/** Makes the medium large enough. @throws ContainerError where it cannot be */
async function makeRoom(medium: Client<typeof block>, pbaCount: number): Promise<void> {
	const {blockCount, writable, growable} = await medium.geometry({});
	if (!writable) {
		throw new ContainerError('unsuitable_medium', 'the image is read-only; make it writable');
	}

	if (blockCount < pbaCount) {
		if (!growable) {
			throw new ContainerError(
				'unsuitable_medium',
				`the container needs ${pbaCount} blocks (${pbaCount * blockSize} bytes), the image has ${blockCount} (${blockCount * blockSize} bytes) and cannot grow; use a larger image or a smaller container`,
			);
		}

		await medium.grow({blockCount: pbaCount});
	}
}

function logProgress(env: Creation['env'], total: number): (writtenBlockCount: number) => void {
	let last = env.now();
	return written => {
		if (env.now() - last >= progressIntervalMs) {
			last = env.now();
			env.log(`creating the container: ${Math.floor((100 * written) / total)} % (${written} of ${total} blocks)`);
		}
	};
}

/** Creates a container on an empty medium. @throws ContainerError, SessionError */
export async function createContainer(creation: Creation): Promise<{readonly pbaCount: number}> {
	const {block, trustAnchor, env, plan: dimensions} = creation;
	const search = await readSuperblockSearch({block, trustAnchor});
	const obstacle = creationObstacle(search) ?? ((await isInUse(block, search)) ? occupiedBy(0) : undefined);
	if (obstacle !== undefined) {
		throw new ContainerError('occupied', obstacle);
	}

	// An anchor says nothing about the image: it may have been made first, or with another one.
	const foreign = isBegun(search.slots) ? undefined : await foreignBlock(block);
	if (foreign !== undefined) {
		throw new ContainerError('occupied', occupiedBy(foreign));
	}

	const {initialized} = await trustAnchor.status({});

	const pbaCount =
		freshPbaCount(dimensions.virtualBlockDevice, dimensions.freeTree) +
		dimensions.flushLogBlockCount +
		(dimensions.namesSnapshots ? snapshotDirectoryBlockCount : 0);
	await makeRoom(block, pbaCount);
	await markBegun(block);
	if (!initialized) {
		await trustAnchor.initialize({});
	}

	const {wrapped} = await trustAnchor.create_key({});
	const plan: ContainerPlan = {
		...dimensions,
		// The original's containers have no id: the zero area of their superblock stays zero.
		containerId: dimensions.cipher === 'aes-256-cbc-essiv' ? undefined : env.randomBytes(containerIdLength),
		key: {wrapped, id: firstKeyId},
	};
	const medium = {write: async (extents: number[], data: Uint8Array) => void (await block.write({extents, data}))};
	const superblock = await layOut(plan, medium, logProgress(env, layoutBlockCount(plan)));
	const encoded = await sealSuperblock(trustAnchor, superblock);
	const hash = labelOf(encoded);
	await block.sync({});
	await trustAnchor.secure({hash, generation: 0, creating: true});
	await block.write({extents: [0, 1], data: encoded});
	await block.sync({});
	await trustAnchor.secure({hash, generation: 0, creating: false});
	return {pbaCount};
}
