/** Which blocks of the pool may be handed out (format section 5). */
import type {Frame, Generation, NodeIndex} from '../container/addresses.js';
import type {NodeBlocks} from '../container/node-blocks.js';

export class Horizon {
	currentGeneration: Generation;
	#lastSecuredGeneration: Generation;
	#keptGenerations: readonly Generation[];
	/** Grows with every change of the kept snapshots. */
	#snapshotVersion = 0;

	constructor({currentGeneration, lastSecuredGeneration, snapshotGenerations}: {
		currentGeneration: Generation;
		lastSecuredGeneration: Generation;
		snapshotGenerations: readonly Generation[];
	}) {
		this.currentGeneration = currentGeneration;
		this.#lastSecuredGeneration = lastSecuredGeneration;
		this.#keptGenerations = snapshotGenerations;
	}

	get lastSecuredGeneration(): Generation {
		return this.#lastSecuredGeneration;
	}

	get snapshotVersion(): number {
		return this.#snapshotVersion;
	}

	advance({lastSecuredGeneration, snapshotGenerations}: {lastSecuredGeneration: Generation; snapshotGenerations: readonly Generation[]}): void {
		this.#lastSecuredGeneration = lastSecuredGeneration;
		if (snapshotGenerations.length !== this.#keptGenerations.length || snapshotGenerations.some((value, i) => value !== this.#keptGenerations[i])) {
			this.#keptGenerations = snapshotGenerations;
			this.#snapshotVersion++;
		}
	}

	/** True where a kept snapshot still needs the block in a reserved entry: it was allocated before and freed after it. */
	isHeldBySnapshot(nodes: NodeBlocks, frame: Frame, index: NodeIndex): boolean {
		if (!nodes.isPoolEntryReserved(frame, index)) {
			return false;
		}

		const allocated = nodes.poolAllocGeneration(frame, index);
		const freed = nodes.poolFreeGeneration(frame, index);
		for (const generation of this.#keptGenerations) {
			if (allocated <= generation && generation < freed) {
				return true;
			}
		}

		return false;
	}

	/** True where neither a secured state nor a snapshot needs the block in this entry of the free tree. */
	isAllocatable(nodes: NodeBlocks, frame: Frame, index: NodeIndex): boolean {
		return nodes.address(frame, index) !== 0
			&& nodes.poolFreeGeneration(frame, index) <= this.#lastSecuredGeneration
			&& !this.isHeldBySnapshot(nodes, frame, index);
	}

	/** The same for the meta tree, of which no snapshot ever needs a block. */
	isMetaAllocatable(nodes: NodeBlocks, frame: Frame, index: NodeIndex): boolean {
		return nodes.address(frame, index) !== 0 && nodes.poolAllocGeneration(frame, index) <= this.#lastSecuredGeneration;
	}
}
