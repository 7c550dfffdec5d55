/** Roots of the container's trees, as they travel between components. */
import {z} from 'zod';
import {bytes} from '../../runtime/sdk/session.js';
import {Generation, Pba} from './vocabulary.js';

/** The node that points to a tree's root block (format section 2). */
export const RootNode = z.strictObject({
	address: Pba,
	generation: Generation,
	hash: bytes(32),
});

/**
 * Where a tree's blocks lay when it was created, all inner blocks and all leaves one behind another; see
 * lib/format/fresh-layout.ts.
 */
export const FreshTree = z.strictObject({
	leafCount: z.number().int().positive(),
	firstInner: Pba,
	firstLeaf: Pba,
});

/** A tree with its shape. */
export const TreeRoot = z.strictObject({
	root: RootNode,
	maxLevel: z.number().int().min(1).max(5),
	degree: z.number().int().min(2).max(64),
	leafCount: z.number().int().positive(),
	/** Undefined where every inner block lies on the medium. */
	fresh: FreshTree.optional(),
});

export type FreshTree = z.output<typeof FreshTree>;
export type RootNode = z.output<typeof RootNode>;
export type TreeRoot = z.output<typeof TreeRoot>;
