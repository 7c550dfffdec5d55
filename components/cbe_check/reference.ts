/** A place in a tree that refers to a block: everything that is known about the block before it is read. */
import type {FreshTree} from '../sessions/tree-root.js';
import {isImplied} from '../lib/format/fresh-layout.js';
import type {Generation, Level, Pba} from '../sessions/vocabulary.js';

/** A tree to walk: a snapshot's, the free tree or the meta tree. */
export interface CheckedTree {
	/** What findings call it: `snapshot 6`, `free tree`, `meta tree`. */
	readonly name: string;
	/** The state that it belongs to; none of its nodes is newer. */
	readonly generation: Generation;
	readonly maxLevel: number;
	readonly degree: number;
	readonly leafCount: number;
	/** True where the newest state owns its blocks; false for older snapshots. */
	readonly current: boolean;
	/** Where some of its inner blocks may not lie on the medium. */
	readonly fresh?: FreshTree | undefined;
	/** True where leaves that were written may have no content. */
	readonly emptiesLeaves?: boolean;
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
	/** The oldest of them. */
	readonly oldest: CheckedTree;
}

function hasNoLabel({hash}: Reference): boolean {
	return hash.every(byte => byte === 0);
}

/** True where the reference stands for an inner block that does not lie on the medium. */
export function isImpliedReference(reference: Reference): boolean {
	return reference.level > 0 && isImplied(reference.tree.fresh, reference.hash);
}

/** True for a leaf that was written and has given up its content. */
export function isEmptied(reference: Reference): boolean {
	return (
		reference.level === 0 &&
		reference.generation > 0 &&
		reference.tree.emptiesLeaves === true &&
		hasNoLabel(reference)
	);
}

/** Names the reference in a finding. */
export function referenceText({address, level, position, tree}: Reference): string {
	const place = level === 0 ? `VBA ${position}` : `VBA ${position * tree.degree ** level} and up`;
	return `PBA ${address} (${tree.name}, level ${level}, ${place})`;
}
