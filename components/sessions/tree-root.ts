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

/** A tree with its shape. */
export const TreeRoot = z.strictObject({
	root: RootNode,
	maxLevel: z.number().int().min(1).max(5),
	degree: z.number().int().min(2).max(64),
	leafCount: z.number().int().positive(),
});

export type RootNode = z.output<typeof RootNode>;
export type TreeRoot = z.output<typeof TreeRoot>;
