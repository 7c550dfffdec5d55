/**
 * Has blocks that nobody needs any more given back to the medium: after clearings, and after snapshots are gone. It
 * waits for a checkpoint, because until then the last secured state needs them, and goes on in small steps beside the
 * requests.
 */
import type {Environment} from '../../runtime/sdk/component.js';
import type {Client} from '../../runtime/sdk/session.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import type {Generation, Vba} from '../sessions/vocabulary.js';
import type {Commit} from './commit.js';
import {keptSnapshots, treeOf} from './transition.js';

/** After a step, pause this many times as long as the step took. */
const yieldFactor = 4;

/** How long stopping goes on with it. */
const finishMsMax = 2000;

export class Reclaimer {
	readonly #device: Client<typeof virtualBlockDevice>;
	readonly #commit: Commit;
	readonly #env: Environment;
	#isPending = false;
	/** Since this generation the device has changed beside a snapshot that is gone. */
	#snapshotGone: Generation | null = null;
	/** The state was secured while steps were going on. */
	#securedMeanwhile = false;
	#running: Promise<void> | undefined;
	/** Set while the device comes to rest: until then it goes on. */
	#deadlineMs: number | undefined;

	readonly #endLeaf: () => Vba;

	/** @param endLeaf entries of the pool from there on keep their room */
	constructor(
		device: Client<typeof virtualBlockDevice>,
		commit: Commit,
		{env, endLeaf}: {env: Environment; endLeaf: () => Vba},
	) {
		this.#endLeaf = endLeaf;
		this.#device = device;
		this.#commit = commit;
		this.#env = env;
	}

	/** Blocks of the device were cleared. */
	noteCleared(): void {
		this.#isPending = true;
	}

	/** The secured state has lost the snapshot of this generation. */
	noteSnapshotGone(generation: Generation): void {
		this.#isPending = true;
		this.#snapshotGone = Math.min(generation, this.#snapshotGone ?? Infinity);
		this.noteSecured();
	}

	/** Called after a checkpoint. Waits for nothing. */
	noteSecured(): void {
		this.#securedMeanwhile = true;
		if (this.#isPending && !this.#running) {
			this.#running = this.#run();
		}
	}

	/** The device comes to rest, secured: gives back what there is time for. */
	async stop(): Promise<void> {
		this.#deadlineMs = this.#env.now() + finishMsMax;
		await this.#running;
		this.noteSecured();
		await this.#running;
		this.#deadlineMs = undefined;
	}

	async #run(): Promise<void> {
		try {
			let isMore;
			do {
				const startedMs = this.#env.now();
				isMore = await this.#step();
				await this.#giveWay(this.#env.now() - startedMs);
			} while (
				(isMore || (this.#isPending && this.#securedMeanwhile)) &&
				this.#env.now() < (this.#deadlineMs ?? Infinity)
			);
		} catch (error) {
			// What was not given back keeps its room until it is used again.
			this.#env.log(
				`giving spare blocks back to the medium stopped: ${error instanceof Error ? error.message : String(error)}`,
				'warning',
			);
		} finally {
			this.#running = undefined;
		}
	}

	/** False where there is nothing more to do before the next checkpoint. */
	async #step(): Promise<boolean> {
		const snapshotGone = this.#snapshotGone;
		this.#snapshotGone = null;
		this.#securedMeanwhile = false;
		this.#isPending = false;
		const {superblock} = this.#commit;
		const snapshots = keptSnapshots(superblock).map(snapshot => ({
			generation: snapshot.root.generation,
			tree: treeOf(superblock, snapshot),
		}));
		const {remainder} = await this.#device.reclaim({
			lastSecuredGeneration: superblock.lastSecuredGeneration,
			snapshots,
			snapshotGone,
			endLeaf: this.#endLeaf(),
		});
		this.#isPending ||= remainder === 'unsecured';
		return remainder === 'more';
	}

	async #giveWay(elapsedMs: number): Promise<void> {
		if (this.#deadlineMs === undefined) {
			await this.#env.sleep(yieldFactor * elapsedMs);
		}
	}
}
