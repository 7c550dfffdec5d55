/** When an entry of the free tree can be handed out (format section 5), stated straight from the document. */
import type {PoolEntry} from '../lib/format/node-blocks.js';
import type {Superblock} from '../lib/format/superblock.js';

/**
 * True where rekeying has already left the entry's VBAs behind, so that its block is the old version of a rekeyed one.
 */
function isPseudoReserved({lastKeyId, lastVba}: PoolEntry, {state, previousKey, rekeyingVba}: Superblock): boolean {
	return state === 'rekeying' && lastKeyId === previousKey?.id && lastVba < rekeyingVba;
}

function isNeededBySnapshot({allocGeneration, freeGeneration}: PoolEntry, {snapshots}: Superblock): boolean {
	return snapshots.some(
		snapshot =>
			snapshot !== undefined &&
			allocGeneration <= snapshot.root.generation &&
			snapshot.root.generation < freeGeneration,
	);
}

export function isAllocatable(entry: PoolEntry, superblock: Superblock): boolean {
	return (
		entry.freeGeneration <= superblock.lastSecuredGeneration &&
		(!entry.reserved || isPseudoReserved(entry, superblock) || !isNeededBySnapshot(entry, superblock))
	);
}
