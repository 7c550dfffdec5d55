/** Opens the container behind a `block` session with the record of a `trust_anchor` session. */
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import type {block} from '../sessions/block.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import {LogWalk} from './flush-log.js';
import {blockSize, superblockSlotCount} from './geometry.js';
import {labelOf} from './label.js';
import {anchoredSlot, openSuperblock, readSlot, type AnchoredLog, type OpenedSuperblock, type Secured, type SuperblockSearch} from './open-superblock.js';
import type {FlushLogArea} from './superblock.js';

/** Blocks of the log that are read together: mostly few of them are in use. */
const logReadCount = 64;

export interface ContainerSessions {
	readonly block: Client<typeof block>;
	readonly trustAnchor: Client<typeof trustAnchor>;
}

/** The eight slots; those beyond the end of a shorter medium are zero. */
export async function readSuperblockSlots(medium: Client<typeof block>, mediumBlockCount: number): Promise<Uint8Array[]> {
	const slots = Buffer.alloc(superblockSlotCount * blockSize);
	const count = Math.min(superblockSlotCount, mediumBlockCount);
	if (count > 0) {
		await medium.read({extents: [0, count], data: slots.subarray(0, count * blockSize)});
	}

	return Array.from({length: superblockSlotCount}, (_, slot) => slots.subarray(slot * blockSize, (slot + 1) * blockSize));
}

/** What `openSuperblock` decides by. */
export async function readSuperblockSearch({block, trustAnchor}: ContainerSessions): Promise<SuperblockSearch> {
	const {blockCount} = await block.geometry({});
	const {secured} = await trustAnchor.status({});
	const slots = await readSuperblockSlots(block, blockCount);
	const log = secured && anchoredSlot(slots, secured) === undefined ? await findLog(block, slots, secured, blockCount) : undefined;
	return {slots, secured, log, mediumBlockCount: blockCount};
}

/** The log that leads from one of the superblocks to what the anchor keeps. */
async function findLog(medium: Client<typeof block>, slots: readonly Uint8Array[], secured: Secured, mediumBlockCount: number): Promise<AnchoredLog | undefined> {
	for (let slot = 0; slot < superblockSlotCount; slot++) {
		const read = readSlot(slots, slot);
		const area = read && 'superblock' in read ? read.superblock.flushLog : undefined;
		if (area && area.firstPba + area.blockCount <= mediumBlockCount) {
			const walk = new LogWalk(labelOf(slots[slot]), secured.hash);
			await readLog(medium, area, walk);
			if (walk.hasArrived) {
				return {slot, entries: walk.entries};
			}
		}
	}

	return undefined;
}

/** The last secured state of the container. @throws ContainerError, SessionError */
export async function openContainer(sessions: ContainerSessions): Promise<OpenedSuperblock> {
	return openSuperblock(await readSuperblockSearch(sessions));
}

/** Reads as much of the log as the walk needs. @throws SessionError where a block that it needs cannot be read */
async function readLog(medium: Client<typeof block>, {firstPba, blockCount}: FlushLogArea, walk: LogWalk): Promise<void> {
	for (let begin = 0; begin < blockCount; begin += logReadCount) {
		if (!await takeBlocks(medium, {firstPba: firstPba + begin, blockCount: Math.min(logReadCount, blockCount - begin)}, walk)) {
			return;
		}
	}
}

/** Reads blocks together or, where that fails, one by one: perhaps only one beyond the newest entry is bad. False where the walk needs no further block. */
async function takeBlocks(medium: Client<typeof block>, {firstPba, blockCount}: FlushLogArea, walk: LogWalk): Promise<boolean> {
	const data = Buffer.alloc(blockCount * blockSize);
	try {
		await medium.read({extents: [firstPba, blockCount], data});
	} catch (error) {
		if (!isSessionError(error) || blockCount === 1) {
			throw error;
		}

		for (let i = 0; i < blockCount; i++) {
			if (!await takeBlocks(medium, {firstPba: firstPba + i, blockCount: 1}, walk)) {
				return false;
			}
		}

		return true;
	}

	for (let i = 0; i < blockCount; i++) {
		if (!walk.take(data.subarray(i * blockSize, (i + 1) * blockSize))) {
			return false;
		}
	}

	return true;
}
