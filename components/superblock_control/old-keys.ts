/** Wrapped keys that a rekeying has replaced, in superblock slots that no longer count. */
import type {Client} from '../../runtime/sdk/session.js';
import {blockSize, superblockSlotCount} from '../lib/format/geometry.js';
import {readSuperblockSlots} from '../lib/container/open-container.js';
import type {Superblock} from '../lib/format/superblock.js';
import {wrappedKeysOf, encodeUnusedSlot} from '../lib/format/superblock-codec.js';
import type {block} from '../sessions/block.js';

/** True where a superblock no longer names a key that the one before it named. */
export function dropsKey(before: Superblock, {currentKey, previousKey}: Superblock): boolean {
	const names = (id: number): boolean => id === currentKey.id || id === previousKey?.id;
	return !names(before.currentKey.id) || (before.previousKey !== undefined && !names(before.previousKey.id));
}

/**
 * Empties every slot but that of the superblock that names a key which this one does not: whoever gets image and trust
 * anchor later shall not read with it what was written before the rekeying. Replies with how many there were. Only once
 * the superblock is anchored: the others count for nothing then.
 */
export async function clearOldKeys(
	medium: Client<typeof block>,
	slot: number,
	superblock: Superblock,
): Promise<number> {
	const slots = await readSuperblockSlots(medium, superblockSlotCount);
	const kept = new Set(
		[superblock.currentKey, superblock.previousKey].flatMap(key =>
			key ? [Buffer.from(key.wrapped).toString('hex')] : [],
		),
	);
	const stale = slots.flatMap((bytes, other) =>
		other !== slot && wrappedKeysOf(bytes).some(key => !kept.has(key)) ? [other] : [],
	);
	if (stale.length > 0) {
		const unused = encodeUnusedSlot();
		const data = Buffer.alloc(stale.length * blockSize);
		for (const i of stale.keys()) {
			data.set(unused, i * blockSize);
		}

		await medium.write({extents: stale.flatMap(other => [other, 1]), data});
		await medium.sync({});
	}

	return stale.length;
}
