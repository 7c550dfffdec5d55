/** What each snapshot holds alone: counted once for each secured state that somebody asks for. */
import type {Client} from '../../runtime/sdk/session.js';
import type {Generation} from '../sessions/vocabulary.js';
import type {freeTree} from '../sessions/free-tree.js';
import type {Commit} from './commit.js';
import {keptGenerations} from './transition.js';

export interface SnapshotSize {
	readonly generation: Generation;
	readonly soleBlockCount: number;
}

export class SnapshotSizes {
	readonly #freeTree: Client<typeof freeTree>;
	readonly #commit: Commit;
	#counted: {readonly durableCount: number; readonly sizes: Promise<SnapshotSize[]>} | undefined;

	constructor({free_tree: server}: {readonly free_tree: Client<typeof freeTree>}, commit: Commit) {
		this.#freeTree = server;
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
		const counts = new Map(keptGenerations(this.#commit.superblock).map(generation => [generation, 0]));
		for (let firstLeaf: number | null = counts.size > 0 ? 0 : null; firstLeaf !== null;) {
			const {nextLeaf, holdings} = await this.#freeTree.sole_holdings({firstLeaf});
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
