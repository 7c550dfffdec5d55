/** Which blocks of the pool may be handed out (format section 5). */
import type {Frame, Generation, KeyId, NodeIndex, Vba} from '../sessions/vocabulary.js';
import type {NodeBlocks, PoolEntry} from '../lib/format/node-blocks.js';

/** A rekeying as the secured superblock describes it. */
export interface Rekeying {
	readonly previousKeyId: KeyId;
	readonly rekeyingVba: Vba;
}

/** True where the rekeying has given every snapshot another block in place of the one in this entry. */
export function isReplacedBy({previousKeyId, rekeyingVba}: Rekeying, {lastKeyId, lastVba}: PoolEntry): boolean {
	return lastKeyId === previousKeyId && lastVba < rekeyingVba;
}

/** What a checkpoint changes. */
export interface SecuredHorizon {
	readonly lastSecuredGeneration: Generation;
	readonly snapshotGenerations: readonly Generation[];
	readonly rekeying: Rekeying | null;
	/** Blocks that only trims, reverting and growth may take. */
	readonly setAsideCount: number;
}

export class Horizon {
	currentGeneration: Generation;
	#lastSecuredGeneration: Generation;
	#keptGenerations: readonly Generation[];
	#rekeying: Rekeying | null;
	#setAsideCount: number;
	/** Grows with every change of what snapshots hold. */
	#snapshotVersion = 0;

	constructor({
		currentGeneration,
		lastSecuredGeneration,
		snapshotGenerations,
		rekeying,
		setAsideCount,
	}: SecuredHorizon & {readonly currentGeneration: Generation}) {
		this.currentGeneration = currentGeneration;
		this.#lastSecuredGeneration = lastSecuredGeneration;
		this.#keptGenerations = snapshotGenerations;
		this.#rekeying = rekeying;
		this.#setAsideCount = setAsideCount;
	}

	get setAsideCount(): number {
		return this.#setAsideCount;
	}

	get lastSecuredGeneration(): Generation {
		return this.#lastSecuredGeneration;
	}

	get snapshotVersion(): number {
		return this.#snapshotVersion;
	}

	advance({lastSecuredGeneration, snapshotGenerations, rekeying, setAsideCount}: SecuredHorizon): void {
		this.#lastSecuredGeneration = lastSecuredGeneration;
		this.#setAsideCount = setAsideCount;
		const sameSnapshots =
			snapshotGenerations.length === this.#keptGenerations.length &&
			snapshotGenerations.every((value, i) => value === this.#keptGenerations[i]);
		if (!sameSnapshots || rekeying?.rekeyingVba !== this.#rekeying?.rekeyingVba) {
			this.#keptGenerations = snapshotGenerations;
			this.#rekeying = rekeying;
			this.#snapshotVersion++;
		}
	}

	/**
	 * True where a kept snapshot still needs the block in a reserved entry: it was allocated before and freed after it.
	 */
	isHeldBySnapshot(nodes: NodeBlocks, frame: Frame, index: NodeIndex): boolean {
		if (!nodes.isPoolEntryReserved(frame, index) || this.isReplacedByRekeying(nodes, frame, index)) {
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

	/** The one kept snapshot that still needs the block in a reserved entry; undefined where it is none or several. */
	soleHolder(nodes: NodeBlocks, frame: Frame, index: NodeIndex): Generation | undefined {
		if (!nodes.isPoolEntryReserved(frame, index) || this.isReplacedByRekeying(nodes, frame, index)) {
			return undefined;
		}

		const allocated = nodes.poolAllocGeneration(frame, index);
		const freed = nodes.poolFreeGeneration(frame, index);
		let holder: Generation | undefined;
		for (const generation of this.#keptGenerations) {
			if (allocated <= generation && generation < freed) {
				if (holder !== undefined) {
					return undefined;
				}

				holder = generation;
			}
		}

		return holder;
	}

	/** True where a rekeying has given every snapshot another block in place of this one ("pseudo-reserved"). */
	isReplacedByRekeying(nodes: NodeBlocks, frame: Frame, index: NodeIndex): boolean {
		return this.#rekeying !== null && isReplacedBy(this.#rekeying, nodes.poolEntry(frame, index));
	}

	/** True where neither a secured state nor a snapshot needs the block in this entry of the free tree. */
	isAllocatable(nodes: NodeBlocks, frame: Frame, index: NodeIndex): boolean {
		return (
			nodes.address(frame, index) !== 0 &&
			nodes.poolFreeGeneration(frame, index) <= this.#lastSecuredGeneration &&
			!this.isHeldBySnapshot(nodes, frame, index)
		);
	}

	/** The same for the meta tree, of which no snapshot ever needs a block. */
	isMetaAllocatable(nodes: NodeBlocks, frame: Frame, index: NodeIndex): boolean {
		return (
			nodes.address(frame, index) !== 0 && nodes.poolAllocGeneration(frame, index) <= this.#lastSecuredGeneration
		);
	}
}
