/** A place in a tree that refers to a block: everything that is known about the block before it is read. */
import type {Generation, Level, Pba} from '../container/addresses.js';

/** A tree to walk: a snapshot's, the free tree or the meta tree. */
export interface CheckedTree {
	/** What findings call it: `snapshot 6`, `free tree`, `meta tree`. */
	readonly name: string;
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
	/** True where the newest state owns its blocks; false for older snapshots. */
	readonly current: boolean;
}

export interface Reference {
	readonly address: Pba;
	readonly generation: Generation;
	readonly hash: Uint8Array;
	readonly level: Level;
	/** Number of the block among those of its level, unset ones counted. */
	readonly position: number;
	/** The first of the trees that refer to the block from this position. */
	readonly tree: CheckedTree;
}

/** Names the reference in a finding. */
export function referenceText({address, level, position, tree}: Reference): string {
	const place = level === 0 ? `VBA ${position}` : `VBA ${position * (tree.degree ** level)} and up`;
	return `PBA ${address} (${tree.name}, level ${level}, ${place})`;
}
