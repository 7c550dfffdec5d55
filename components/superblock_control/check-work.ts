/**
 * Check of the running device: everything that the current state, the kept snapshots and the pool consist of is read
 * from the medium and compared with its label. Who owns which block is for cbe_check to say, on a container at rest.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import {blockSize} from '../lib/format/geometry.js';
import {readNames} from '../lib/container/snapshot-directory.js';
import type {Work} from './background-operation.js';
import type {OpeningServers} from './opening.js';
import type {Commit} from './commit.js';
import {currentSnapshotOf, keptSnapshots, treeOf} from './transition.js';

/** Damages that are logged one by one; the rest is counted. */
const loggedCountMax = 20;

export class CheckWork implements Work {
	readonly unitBytes = blockSize;
	readonly secureIntervalMs = 60_000;
	readonly #servers: OpeningServers;
	readonly #commit: Commit;
	readonly #env: Environment;
	#vba: number | null = 0;
	#leaf: number | null = 0;
	#deviceDone = 0;
	#checkedBlockCount = 0;
	#damageCount = 0;
	#isBegun = false;

	constructor(servers: OpeningServers, commit: Commit, env: Environment) {
		this.#servers = servers;
		this.#commit = commit;
		this.#env = env;
	}

	get total(): number {
		const {superblock} = this.#commit;
		return this.#deviceTotal + superblock.freeTree.leafCount + superblock.metaTree.leafCount;
	}

	get done(): number {
		return Math.min(
			this.total,
			(this.#vba === null ? this.#deviceTotal : this.#deviceDone) + (this.#leaf ?? this.total),
		);
	}

	get #deviceTotal(): number {
		const {superblock} = this.#commit;
		return Math.max(
			currentSnapshotOf(superblock).leafCount,
			...keptSnapshots(superblock).map(({leafCount}) => leafCount),
		);
	}

	async step(): Promise<boolean> {
		if (!this.#isBegun) {
			// What only the flush log says so far is not on the medium in full.
			await this.#commit.checkpoint();
			this.#isBegun = true;
			await this.#checkNames();
		}

		await (this.#vba === null ? this.#stepPool(this.#leaf ?? 0) : this.#stepDevice(this.#vba));
		return this.#leaf !== null;
	}

	async finish(): Promise<void> {
		if (this.#damageCount > 0) {
			throw new Error(`${this.#damageCount} of ${this.#checkedBlockCount} blocks are damaged`);
		}

		this.#env.log(`no damage found: ${this.#checkedBlockCount} blocks checked`);
	}

	async #checkNames(): Promise<void> {
		// While no state is taken, the place of the names is not written.
		await this.#commit.holdStill(async () => {
			const {fault} = await readNames(this.#servers, this.#commit.superblock);
			this.#note({checkedBlockCount: 0, damages: fault ? [fault.text] : []});
		});
	}

	async #stepDevice(firstVba: number): Promise<void> {
		// While no state is taken, no snapshot of this list is given up.
		await this.#commit.holdStill(async () => {
			const {latest} = this.#commit;
			const snapshots = keptSnapshots(latest).map(snapshot => ({
				generation: snapshot.root.generation,
				tree: treeOf(latest, snapshot),
			}));
			const {nextVba, ...verified} = await this.#servers.virtual_block_device.verify({snapshots, firstVba});
			this.#vba = nextVba;
			this.#deviceDone = nextVba ?? firstVba;
			this.#note(verified);
		});
	}

	async #stepPool(firstLeaf: number): Promise<void> {
		const {nextLeaf, ...verified} = await this.#servers.free_tree.verify({firstLeaf});
		this.#leaf = nextLeaf;
		this.#note(verified);
	}

	#note({checkedBlockCount, damages}: {checkedBlockCount: number; damages: string[]}): void {
		this.#checkedBlockCount += checkedBlockCount;
		for (const damage of damages) {
			this.#damageCount++;
			if (this.#damageCount <= loggedCountMax) {
				this.#env.log(`check: ${damage}`, 'error');
			}
		}
	}
}
