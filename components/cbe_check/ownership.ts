/**
 * Who owns which PBA (format section 2, "Invariant"). Every PBA behind the superblocks belongs exactly once to the
 * newest snapshot's tree, the free tree or the meta tree, as a leaf or as an inner block, to the flush log or to the
 * snapshot directory; what older snapshots need beyond that must lie in the free tree where it cannot be handed out.
 */
import type {Pba} from '../sessions/vocabulary.js';
import {superblockSlotCount} from '../lib/format/geometry.js';
import type {PoolEntry} from '../lib/format/node-blocks.js';
import {snapshotDirectoryBlockCount, type Superblock} from '../lib/format/superblock.js';
import type {Findings} from './findings.js';
import {isAllocatable} from './pool-rule.js';
import {PbaSet, type PbaRange} from './pba-set.js';

/** Names the place that refers to a block; asked only where there is something to report. */
export type Place = () => string;

export class Ownership {
	readonly #superblock: Superblock;
	readonly #findings: Findings;
	readonly #owned: PbaSet;
	/** Blocks that only older snapshots refer to and no pool entry has been seen for yet. */
	readonly #held: PbaSet;
	#heldCount = 0;

	constructor(superblock: Superblock, findings: Findings) {
		this.#superblock = superblock;
		this.#findings = findings;
		this.#owned = new PbaSet(superblock.pbaCount);
		this.#held = new PbaSet(superblock.pbaCount);
		const {flushLog, snapshotDirectory} = superblock;
		if (flushLog) {
			this.claimRange(flushLog.firstPba, flushLog.blockCount, () => 'flush log');
		}

		if (snapshotDirectory) {
			this.claimRange(snapshotDirectory.firstPba, snapshotDirectoryBlockCount, () => 'snapshot directory');
		}
	}

	/** Blocks that only older snapshots refer to. */
	get heldCount(): number {
		return this.#heldCount;
	}

	isInRange(address: Pba): boolean {
		return address >= superblockSlotCount && address < this.#superblock.pbaCount;
	}

	/** The newest state owns the block. */
	claim(address: Pba, place: Place): void {
		if (!this.#owned.add(address)) {
			this.#findings.add(`${place()}: PBA ${address} is in use at another place too`);
		}
	}

	/** The newest state owns these blocks. */
	claimRange(first: Pba, count: number, place: Place): void {
		for (const address of this.#owned.addRange(first, count)) {
			this.#findings.add(`${place()}: PBA ${address} is in use at another place too`);
		}
	}

	/** An older snapshot needs the block, the current state does not. */
	hold(address: Pba, place: Place): void {
		if (!this.#held.add(address)) {
			this.#findings.add(`${place()}: PBA ${address} is in use at another place of an older snapshot too`);
			return;
		}

		this.#heldCount++;
	}

	/** An entry of the free tree owns its block and, where older snapshots need it, has to keep it. */
	claimPoolEntry(entry: PoolEntry, place: Place): void {
		this.claim(entry.address, place);
		if (this.#held.has(entry.address)) {
			this.#held.delete(entry.address);
			if (isAllocatable(entry, this.#superblock)) {
				this.#findings.add(
					`${place()}: PBA ${entry.address} is needed by an older snapshot but could be handed out`,
				);
			}
		}
	}

	/** Reports what is left over once every tree has been walked without a gap. */
	reportLeftovers(): void {
		for (const range of this.#owned.ranges(superblockSlotCount, false)) {
			this.#findings.add(`${rangeText(range)} to no tree`);
		}

		for (const range of this.#held.ranges(superblockSlotCount, true)) {
			this.#findings.add(`${rangeText(range)} to an older snapshot but not to the pool`);
		}
	}
}

function rangeText({first, last}: PbaRange): string {
	return first === last ? `PBA ${first} belongs` : `PBAs ${first} to ${last} belong`;
}
