/**
 * Blocks that were met before, by all that a node says of them. The address alone names no block: where a container was
 * damaged by another implementation, two nodes may name one address and mean different blocks, of which one at most is
 * there.
 */
import type {Generation, Level, Pba, Vba} from '../../sessions/vocabulary.js';

/** What a node says of the block that it refers to. */
export interface BlockReference {
	readonly address: Pba;
	readonly generation: Generation;
	readonly label: Uint8Array;
	readonly level: Level;
	/** The lowest leaf that the block's place in the tree covers. */
	readonly lowestVba: Vba;
}

/**
 * True where two nodes mean the same block in the same place of their trees. The label of an inner block is of its
 * bytes alone; the original's rekeying leaves nodes of different generations for one. Of data the generation may be a
 * part of what is sealed.
 */
export function isSameBlock(a: BlockReference, b: BlockReference): boolean {
	return (
		a.address === b.address &&
		a.level === b.level &&
		a.lowestVba === b.lowestVba &&
		(a.level > 0 || a.generation === b.generation) &&
		Buffer.compare(a.label, b.label) === 0
	);
}

export class SeenBlocks<T extends BlockReference> {
	readonly #first = new Map<Pba, T>();
	/** Others at an address that has one already. */
	readonly #others: T[] = [];

	/** The block that was added for this reference, undefined where it has not been met. */
	find(reference: BlockReference): T | undefined {
		const first = this.#first.get(reference.address);
		if (first === undefined || isSameBlock(first, reference)) {
			return first;
		}

		return this.#others.find(other => isSameBlock(other, reference));
	}

	/** Adds a block that `find` does not know. */
	add(block: T): void {
		if (this.#first.has(block.address)) {
			this.#others.push(block);
		} else {
			this.#first.set(block.address, block);
		}
	}

	*[Symbol.iterator](): Generator<T> {
		yield* this.#first.values();
		yield* this.#others;
	}
}
