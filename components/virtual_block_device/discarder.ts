/**
 * Room that nobody needs any more goes back to whoever stores the medium. The content of such blocks is worth nothing,
 * so clearing them needs no checkpoint and may be lost in a crash.
 *
 * What a clearing replaces may be needed by secured states and snapshots, and lies in the pool. Once its entry can be
 * handed out, the block may be cleared; and it must not be cleared any more once it was handed out. So the steps run
 * with no write under way, and nothing is handed out in between.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Generation, Pba, Vba} from '../sessions/vocabulary.js';
import {extentsOf} from '../lib/format/extents.js';
import type {Device, KeptSnapshot} from './device.js';
import {EmptiedLeaves} from './emptied-leaves.js';
import {lowestLeaves} from './placement.js';
import type {Range} from './request-queue.js';

/** Entries of the pool that are remembered together. */
const groupLeafCount = 64;

/** Entries that one step looks at: writes wait meanwhile. */
const stepLeafCount = 1024;

/** Who empties this part of the device wants room on the host: the pool gives back what it need not keep, too. */
const passPart = 1 / 8;

/** What is left to do: nothing, something now, or something once more is secured. */
export type DiscardProgress = 'nothing' | 'more' | 'unsecured';

export class Discarder {
	readonly #device: Device;
	readonly #isEnabled: boolean;
	/** Groups of entries in which a clearing has left blocks, with the generation of the last one. */
	readonly #cleared = new Map<number, Generation>();
	/** Leaves that keep their places without content. */
	readonly #emptied: EmptiedLeaves;
	/** Leaves emptied since the last pass through the pool. */
	#emptiedSincePass = 0;
	/** Where a pass through the whole pool goes on; undefined where there is none. */
	#passLeaf: Vba | undefined;
	#lastFault = '';
	#clearedBlockCount = 0;

	constructor(device: Device, isEnabled: boolean) {
		this.#device = device;
		this.#isEnabled = isEnabled;
		this.#emptied = new EmptiedLeaves(device);
	}

	get clearedBlockCount(): number {
		return this.#clearedBlockCount;
	}

	forget(): void {
		this.#cleared.clear();
		this.#emptied.forget();
		this.#passLeaf = undefined;
	}

	/** A clearing has left what it replaced in these entries. */
	note(poolLeaves: readonly Vba[]): void {
		if (this.#isEnabled) {
			for (const leaf of poolLeaves) {
				this.#cleared.set(Math.floor(leaf / groupLeafCount), this.#device.currentGeneration);
			}
		}
	}

	/** Leaves in these ranges were emptied. */
	noteEmptied(ranges: readonly Range[]): void {
		if (!this.#isEnabled) {
			return;
		}

		const {tree} = this.#device;
		for (const leaf of lowestLeaves(ranges, tree)) {
			this.#emptied.note(leaf);
		}

		for (const {count} of ranges) {
			this.#emptiedSincePass += count;
		}

		if (this.#emptiedSincePass > passPart * tree.geometry.leafCount) {
			this.#passLeaf = 0;
			this.#emptiedSincePass = 0;
		}
	}

	/** A snapshot is gone, with what has changed after its generation: any entry may have become spare. */
	noteSnapshotGone(generation: Generation): void {
		if (this.#isEnabled) {
			this.#passLeaf = 0;
			this.#emptied.noteChangesAfter(generation);
		}
	}

	/**
	 * Clears the places of leaves that were cleared. With their part of the device locked, so that nobody writes there.
	 */
	async clearPlaces(addresses: readonly Pba[]): Promise<void> {
		if (!this.#isEnabled || addresses.length === 0) {
			return;
		}

		try {
			const sorted = [...addresses].sort((a, b) => a - b);
			await this.#device.servers.block.clear({extents: extentsOf(sorted)});
			this.#clearedBlockCount += sorted.length;
		} catch (error) {
			this.#report(error);
		}
	}

	/** Clears spare blocks in a bounded part of the pool. With no write under way. */
	async step(
		lastSecuredGeneration: Generation,
		{snapshots, endLeaf}: {snapshots: readonly KeptSnapshot[]; endLeaf: Vba},
	): Promise<DiscardProgress> {
		const ranges = this.#takeDue(lastSecuredGeneration, endLeaf);
		if (ranges.length > 0) {
			const {addresses, leafCount} = await this.#device.servers.free_tree.spare({ranges});
			if (this.#passLeaf !== undefined && this.#passLeaf >= leafCount) {
				this.#passLeaf = undefined;
			}

			await this.clearPlaces(addresses);
		}

		await this.clearPlaces(await this.#emptied.take(lastSecuredGeneration, snapshots));
		if (
			this.#passLeaf !== undefined ||
			this.#emptied.isDue(lastSecuredGeneration) ||
			[...this.#cleared.values()].some(generation => generation <= lastSecuredGeneration)
		) {
			return 'more';
		}

		return this.#cleared.size > 0 || this.#emptied.isPending ? 'unsecured' : 'nothing';
	}

	/** The entries to look at now, as pairs of first leaf and count. */
	#takeDue(lastSecuredGeneration: Generation, endLeaf: Vba): number[] {
		const ranges: number[] = [];
		// Entries from the end on keep their room.
		const push = (first: Vba, count: number): void => {
			if (first < endLeaf) {
				ranges.push(first, Math.min(count, endLeaf - first));
			}
		};

		for (const [group, generation] of this.#cleared) {
			if (generation <= lastSecuredGeneration && ranges.length < (2 * stepLeafCount) / groupLeafCount) {
				push(group * groupLeafCount, groupLeafCount);
				this.#cleared.delete(group);
			}
		}

		if (ranges.length === 0 && this.#passLeaf !== undefined) {
			push(this.#passLeaf, stepLeafCount);
			this.#passLeaf = this.#passLeaf + stepLeafCount < endLeaf ? this.#passLeaf + stepLeafCount : undefined;
		}

		return ranges;
	}

	/** A medium that cannot give room back keeps it: no reason to fail. */
	#report(error: unknown): void {
		if (!(error instanceof SessionError)) {
			throw error;
		}

		if (error.message !== this.#lastFault) {
			this.#lastFault = error.message;
			this.#device.env.log(`the room of cleared blocks could not be given back: ${error.message}`, 'warning');
		}
	}
}
