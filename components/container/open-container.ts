/** Opens the container behind a `block` session with the record of a `trust_anchor` session. */
import type {Client} from '../../runtime/sdk/session.js';
import type {block} from '../sessions/block.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import {logLeadingTo} from './flush-log.js';
import {blockSize, superblockSlotCount} from './geometry.js';
import {labelOf} from './label.js';
import {anchoredSlot, openSuperblock, readSlot, type AnchoredLog, type OpenedSuperblock, type Secured, type SuperblockSearch} from './open-superblock.js';

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
			const data = Buffer.alloc(area.blockCount * blockSize);
			await medium.read({extents: [area.firstPba, area.blockCount], data});
			const blocks = Array.from({length: area.blockCount}, (_, i) => data.subarray(i * blockSize, (i + 1) * blockSize));
			const entries = logLeadingTo(secured.hash, labelOf(slots[slot]), blocks);
			if (entries) {
				return {slot, entries};
			}
		}
	}

	return undefined;
}

/** The last secured state of the container. @throws ContainerError, SessionError */
export async function openContainer(sessions: ContainerSessions): Promise<OpenedSuperblock> {
	return openSuperblock(await readSuperblockSearch(sessions));
}
