/** Opens the container behind a `block` session with the record of a `trust_anchor` session. */
import type {Client} from '../../runtime/sdk/session.js';
import type {block} from '../sessions/block.js';
import type {trustAnchor} from '../sessions/trust-anchor.js';
import {blockSize, superblockSlotCount} from './geometry.js';
import {openSuperblock, type OpenedSuperblock, type SuperblockSearch} from './open-superblock.js';

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
	return {slots: await readSuperblockSlots(block, blockCount), secured, mediumBlockCount: blockCount};
}

/** The last secured state of the container. @throws ContainerError, SessionError */
export async function openContainer(sessions: ContainerSessions): Promise<OpenedSuperblock> {
	return openSuperblock(await readSuperblockSearch(sessions));
}
