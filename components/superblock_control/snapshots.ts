/** Snapshots of the device: created, given up, read and reverted to (format section 6). */
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import type {Generation} from '../container/addresses.js';
import type {Gate} from '../container/gate.js';
import type {Turn} from '../container/turn.js';
import {keptSnapshotCountMax, type Snapshot} from '../container/superblock.js';
import type {TreeRoot} from '../sessions/tree-root.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {requireChangeable} from './restrictions.js';
import type {Securing, SuperblockEdit} from './securing.js';
import {currentSnapshotOf, keptGenerations, keptSnapshots, treeOf, withCurrentKept, withoutKept} from './transition.js';

export interface SnapshotParts {
	readonly securing: Securing;
	readonly device: Client<typeof virtualBlockDevice>;
	/** Held by everything that changes the container as a whole. */
	readonly turn: Turn;
	/** Writers of the device pass it together; reverting closes it. */
	readonly gate: Gate;
	/** Secures the state with a change of the superblock. */
	edit(edit: SuperblockEdit): Promise<void>;
	/** Secures what is due. */
	secure(): Promise<void>;
}

export class Snapshots {
	readonly #parts: SnapshotParts;
	/** Reads under way by snapshot; a snapshot is given up only after them. */
	readonly #reads = new Map<Generation, Set<Promise<unknown>>>();
	/** Being given up: a rekeying takes no care of them any more, so nobody may begin to read them. */
	readonly #leaving = new Set<Generation>();

	constructor(parts: SnapshotParts) {
		this.#parts = parts;
	}

	/** @throws SessionError `unknown_snapshot` */
	find(generation: Generation): Snapshot {
		const snapshot = keptSnapshots(this.#parts.securing.superblock).find(({root}) => root.generation === generation);
		if (!snapshot || this.#leaving.has(generation)) {
			throw new SessionError('unknown_snapshot', `there is no snapshot ${generation}`);
		}

		return snapshot;
	}

	/** Keeps the current content; where it is kept already, under the name it has. */
	async create(): Promise<{generation: Generation; isNew: boolean}> {
		return this.#parts.turn.take(async () => {
			requireChangeable(this.#parts.securing.superblock, {needsSlot: false});
			return this.#create();
		});
	}

	async #create(): Promise<{generation: Generation; isNew: boolean}> {
		const {securing, edit} = this.#parts;
		const current = currentSnapshotOf(securing.superblock);
		if (current.keep && !securing.isBehind) {
			return {generation: current.root.generation, isNew: false};
		}

		let generation: Generation | undefined;
		await edit(superblock => {
			if (keptSnapshots(superblock).length >= keptSnapshotCountMax && !currentSnapshotOf(superblock).keep) {
				return superblock;
			}

			generation = currentSnapshotOf(superblock).root.generation;
			return withCurrentKept(superblock);
		});
		if (generation === undefined) {
			throw new SessionError('refused', `there are ${keptSnapshotCountMax} snapshots already, the most that a container holds; discard one first`);
		}

		return {generation, isNew: true};
	}

	async discard(generation: Generation): Promise<void> {
		await this.#parts.turn.take(async () => {
			requireChangeable(this.#parts.securing.superblock, {needsSlot: false});
			this.find(generation);
			this.#leaving.add(generation);
			try {
				await Promise.allSettled([...this.#reads.get(generation) ?? []]);
				await this.#parts.edit(superblock => withoutKept(superblock, generation));
			} finally {
				this.#leaving.delete(generation);
			}
		});
	}

	async read(generation: Generation, extents: number[], data: Uint8Array): Promise<void> {
		await this.#using(generation, async snapshot => this.#parts.device.read_snapshot({snapshot, extents, data}));
	}

	/** Runs of what is known of a range of blocks. */
	async allocation(generation: Generation, range: {readonly first: number; readonly count: number}): Promise<number[]> {
		const {runs} = await this.#using(generation, async snapshot => this.#parts.device.allocation({snapshot, ...range}));
		return runs;
	}

	/** The snapshot is not given up before the request to it has ended. */
	async #using<T>(generation: Generation, request: (snapshot: {generation: Generation; tree: TreeRoot}) => Promise<T>): Promise<T> {
		const running = request({generation, tree: treeOf(this.#parts.securing.superblock, this.find(generation))});
		const reads = this.#reads.get(generation) ?? new Set();
		this.#reads.set(generation, reads.add(running));
		try {
			return await running;
		} finally {
			reads.delete(running);
		}
	}

	/** Makes the snapshot's content the current content. No write is under way meanwhile; the step is secured. */
	async revert(generation: Generation): Promise<void> {
		const {securing, device, gate, turn, secure} = this.#parts;
		await turn.take(async () => gate.exclusively(async () => {
			requireChangeable(securing.superblock, {needsSlot: true});
			const snapshot = this.find(generation);
			const current = currentSnapshotOf(securing.superblock);
			if (securing.superblock.state !== 'normal') {
				throw new SessionError('refused', `the container is ${securing.superblock.state} now; revert when that has ended`);
			}

			if (snapshot.leafCount !== current.leafCount || snapshot.maxLevel !== current.maxLevel) {
				throw new SessionError('refused', `the device had ${snapshot.leafCount} blocks when snapshot ${generation} was taken and has ${current.leafCount} now; it never shrinks, so it cannot be reverted: copy from the snapshot instead`);
			}

			// Whether or not anything was changed: a write that failed may have left changed inner blocks, too.
			await securing.renew();
			const newestKeptGeneration = Math.max(...keptGenerations(securing.superblock));
			await device.revert({tree: treeOf(securing.superblock, snapshot), newestKeptGeneration});
			securing.noteChange();
			await secure();
		}));
	}
}
