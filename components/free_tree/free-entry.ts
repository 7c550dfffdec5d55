/** New leaves of the pool trees. */
import type {Frame, NodeIndex, Pba} from '../sessions/vocabulary.js';
import type {NodeBlocks} from '../lib/format/node-blocks.js';

/** A free pool entry has only its PBA set. */
export function setFreeEntry(nodes: NodeBlocks, frame: Frame, index: NodeIndex, address: Pba): void {
	nodes.setPoolEntry(frame, index, {
		address,
		lastVba: 0,
		allocGeneration: 0,
		freeGeneration: 0,
		lastKeyId: 0,
		reserved: false,
	});
}
