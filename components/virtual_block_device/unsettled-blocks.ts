/**
 * Blocks that a failed write may have left with anything: their old content, the new one, or a mixture of both. A host
 * that has no room left, or a file that may not grow further, takes a part of a write and refuses the rest.
 *
 * Only a block that is written in place can lose something, so what has to lie there is kept here until the medium has
 * it. It is read from here meanwhile, and no state is stored or logged before.
 */
import type {Pba, Vba} from '../sessions/vocabulary.js';
import {blockSize} from '../lib/format/geometry.js';

/** A leaf of the current tree, and what its label says has to lie in its place. */
export interface UnsettledBlock {
	readonly vba: Vba;
	readonly address: Pba;
	readonly sealed: Uint8Array;
}

export class UnsettledBlocks {
	readonly #blocks = new Map<Pba, UnsettledBlock>();

	/**
	 * Never more than the batches that were under way when the first write failed: no write begins before all are
	 * settled.
	 */
	get count(): number {
		return this.#blocks.size;
	}

	get blocks(): UnsettledBlock[] {
		return [...this.#blocks.values()].sort((a, b) => a.address - b.address);
	}

	/** @param sealed is copied */
	keep({vba, address, sealed}: UnsettledBlock): void {
		this.#blocks.set(address, {vba, address, sealed: Uint8Array.from(sealed)});
	}

	/** What lies there is known again, or of no interest any more. */
	forget(addresses: readonly Pba[]): void {
		for (const address of this.#blocks.size > 0 ? addresses : []) {
			this.#blocks.delete(address);
		}
	}

	reset(): void {
		this.#blocks.clear();
	}

	/** Puts right what was read from `addresses` into `data`. */
	correct(addresses: readonly Pba[], data: Uint8Array): void {
		for (let i = 0; this.#blocks.size > 0 && i < addresses.length; i++) {
			const block = this.#blocks.get(addresses[i]);
			if (block) {
				data.set(block.sealed, i * blockSize);
			}
		}
	}
}
