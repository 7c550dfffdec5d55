/** What each snapshot holds alone: counted once for each secured state that somebody asks for. */
import type {Generation} from '../sessions/vocabulary.js';
import type {Commit} from './commit.js';
import type {PoolServers} from './device-usage.js';
import {keptGenerations} from './transition.js';

export interface SnapshotSize {
	readonly generation: Generation;
	readonly soleBlockCount: number;
}

export class SnapshotSizes {
	readonly #servers: PoolServers;
	readonly #commit: Commit;
	#counted: {readonly durableCount: number; readonly sizes: Promise<SnapshotSize[]>} | undefined;

	constructor(servers: PoolServers, commit: Commit) {
		this.#servers = servers;
		this.#commit = commit;
	}

	/** Those of all kept snapshots, oldest first. Who asks while it is counted gets the same count. */
	async get(): Promise<SnapshotSize[]> {
		const {durableCount} = this.#commit;
		if (this.#counted?.durableCount !== durableCount) {
			const sizes = this.#count();
			this.#counted = {durableCount, sizes};
			sizes.catch(() => {
				this.#counted = undefined;
			});
		}

		return this.#counted.sizes;
	}

	async #count(): Promise<SnapshotSize[]> {
		await this.#servers.virtual_block_device.book({});
		const counts = new Map(keptGenerations(this.#commit.superblock).map(generation => [generation, 0]));
		for (let firstLeaf: number | null = counts.size > 0 ? 0 : null; firstLeaf !== null;) {
			const {nextLeaf, holdings} = await this.#servers.free_tree.sole_holdings({firstLeaf});
			for (const {generation, blockCount} of holdings) {
				counts.set(generation, (counts.get(generation) ?? 0) + blockCount);
			}

			firstLeaf = nextLeaf;
		}

		return keptGenerations(this.#commit.superblock).map(generation => ({
			generation,
			soleBlockCount: counts.get(generation) ?? 0,
		}));
	}
}
