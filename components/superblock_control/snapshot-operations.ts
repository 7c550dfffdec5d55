/** Snapshots of the device: created, given up, read and reverted to (format section 6). */
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import type {Generation} from '../sessions/vocabulary.js';
import type {ReadWriteLock} from '../lib/sync/read-write-lock.js';
import type {Mutex} from '../lib/sync/mutex.js';
import {snapshotNameFault} from '../lib/format/snapshot-name.js';
import {
	keptSnapshotCountMax,
	snapshotDirectoryBlockCount,
	type Snapshot,
	type Superblock,
} from '../lib/format/superblock.js';
import type {block} from '../sessions/block.js';
import type {TreeRoot} from '../sessions/tree-root.js';
import type {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {requireChangeable} from './restrictions.js';
import type {Commit} from './commit.js';
import {currentSnapshotOf, keptGenerations, keptSnapshots, treeOf} from './transition.js';

export interface SnapshotParts {
	readonly commit: Commit;
	readonly device: Client<typeof virtualBlockDevice>;
	/** Held by everything that changes the container as a whole. */
	readonly containerMutex: Mutex;
	/** Writers of the device pass it together; reverting closes it. */
	readonly contentLock: ReadWriteLock;
	readonly medium: Pick<Client<typeof block>, 'allocate'>;
	/** Milliseconds since 1970. */
	timeOfDay(): number;
	/** Why the names of the snapshots that there are could not be read, where a later start may read them. */
	readonly namesFault: string | undefined;
}

/** The host's clock may say anything; what the medium cannot hold is not known. */
function secondsOf(milliseconds: number): number | undefined {
	const seconds = Math.floor(milliseconds / 1000);
	return seconds > 0 && seconds < 2 ** 48 ? seconds : undefined;
}

/** Why snapshots of this container cannot have names, undefined where they can. */
function namelessReason({snapshotDirectory}: Superblock): string | undefined {
	return snapshotDirectory
		? undefined
		: 'snapshots have no names in a container of this form (one of the original, or of an earlier version); leave the name out';
}

export class Snapshots {
	readonly #parts: SnapshotParts;
	/** Reads under way by snapshot; a snapshot is given up only after them. */
	readonly #reads = new Map<Generation, Set<Promise<unknown>>>();
	/** Being given up: a rekeying takes no care of them any more, so nobody may begin to read them. */
	readonly #leaving = new Set<Generation>();
	/** The change that the last reverting was. */
	#reversion = 0;

	constructor(parts: SnapshotParts) {
		this.#parts = parts;
	}

	/**
	 * True where a reverting could not be secured so far. A crash falls back to the state before it, which has content
	 * in places that are never written ones after it, and those are written in place: no data may be before it is
	 * secured.
	 */
	get isReversionDue(): boolean {
		return !this.#parts.commit.isCheckpointed(this.#reversion);
	}

	/** @throws SessionError `unknown_snapshot` */
	find(generation: Generation): Snapshot {
		const snapshot = keptSnapshots(this.#parts.commit.superblock).find(({root}) => root.generation === generation);
		if (!snapshot || this.#leaving.has(generation)) {
			throw new SessionError('unknown_snapshot', `there is no snapshot ${generation}`);
		}

		return snapshot;
	}

	/** Keeps the current content; where it is kept already, under the name it has, or under the one that it gets. */
	async create(name?: string): Promise<{generation: Generation; isNew: boolean}> {
		return this.#parts.containerMutex.run(async () => {
			const {superblock} = this.#parts.commit;
			requireChangeable(superblock, {needsSlot: false});
			if (name !== undefined) {
				this.#requireName(superblock, name);
				await this.#makeDirectoryRoom(superblock);
			}

			return this.#create(name);
		});
	}

	/** @throws SessionError `refused`, `invalid_name` */
	#requireName(superblock: Superblock, name: string): void {
		const kept = keptSnapshots(superblock);
		const reason = namelessReason(superblock) ?? (kept.length > 0 ? this.#parts.namesFault : undefined);
		if (reason !== undefined) {
			throw new SessionError('refused', `${reason}; no snapshot was created`);
		}

		const fault = snapshotNameFault(name);
		if (fault !== undefined) {
			throw new SessionError('invalid_name', `${fault}; no snapshot was created`);
		}

		const other = kept.find(snapshot => snapshot.name === name);
		if (other) {
			throw new SessionError(
				'invalid_name',
				`there is a snapshot "${name}" already (${other.root.generation}); discard it first or choose another name`,
			);
		}
	}

	/**
	 * Both places get their room before anything is secured: then names can also be given up on a host that is full.
	 */
	async #makeDirectoryRoom({snapshotDirectory}: Superblock): Promise<void> {
		if (snapshotDirectory) {
			await this.#parts.medium.allocate({extents: [snapshotDirectory.firstPba, snapshotDirectoryBlockCount]});
		}
	}

	async #create(name: string | undefined): Promise<{generation: Generation; isNew: boolean}> {
		const {commit, timeOfDay} = this.#parts;
		const current = currentSnapshotOf(commit.superblock);
		const {generation: currentGeneration} = current.root;
		if (current.keep && !commit.isBehind && (name === undefined || current.name === undefined)) {
			if (name !== undefined) {
				await commit.checkpointWith({kind: 'name_snapshot', generation: currentGeneration, name});
			}

			return {generation: currentGeneration, isNew: false};
		}

		const {before, after} = await commit.checkpointWith({kind: 'keep_current', name, time: secondsOf(timeOfDay())});
		if (currentSnapshotOf(before).keep) {
			// Only in a full pool the content that is kept already gets no root block for a second snapshot.
			return this.#takeOver(currentSnapshotOf(commit.superblock), name);
		}

		if (after === before) {
			throw new SessionError(
				'refused',
				`there are ${keptSnapshotCountMax} snapshots already, the most that a container holds; discard one first`,
			);
		}

		return {generation: currentSnapshotOf(after).root.generation, isNew: true};
	}

	/** The snapshot that has the present content already is the one that was asked for, unless it has another name. */
	async #takeOver(
		{root: {generation}, name: present}: Snapshot,
		name: string | undefined,
	): Promise<{generation: Generation; isNew: boolean}> {
		if (name !== undefined && present !== undefined) {
			throw new SessionError(
				'no_space',
				`snapshot "${present}" (${generation}) has the present content already, and the pool has no block for another one; discard one or extend the pool`,
			);
		}

		if (name !== undefined) {
			await this.#parts.commit.checkpointWith({kind: 'name_snapshot', generation, name});
		}

		return {generation, isNew: false};
	}

	async discard(generation: Generation): Promise<void> {
		await this.#parts.containerMutex.run(async () => {
			requireChangeable(this.#parts.commit.superblock, {needsSlot: false});
			this.find(generation);
			this.#leaving.add(generation);
			try {
				await Promise.allSettled([...(this.#reads.get(generation) ?? [])]);
				await this.#parts.commit.checkpointWith({kind: 'discard_snapshot', generation});
			} finally {
				this.#leaving.delete(generation);
			}
		});
	}

	async read(generation: Generation, extents: number[], data: Uint8Array): Promise<void> {
		await this.#using(generation, async snapshot => this.#parts.device.read_snapshot({snapshot, extents, data}));
	}

	/** Runs of what is known of a range of blocks. */
	async allocation(
		generation: Generation,
		range: {readonly first: number; readonly count: number},
	): Promise<number[]> {
		const {runs} = await this.#using(generation, async snapshot =>
			this.#parts.device.allocation({snapshot, ...range}),
		);
		return runs;
	}

	/** The snapshot is not given up before the request to it has ended. */
	async #using<T>(
		generation: Generation,
		request: (snapshot: {generation: Generation; tree: TreeRoot}) => Promise<T>,
	): Promise<T> {
		const running = request({generation, tree: treeOf(this.#parts.commit.superblock, this.find(generation))});
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
		const {commit, device, contentLock, containerMutex} = this.#parts;
		await containerMutex.run(async () =>
			contentLock.exclusively(async () => {
				requireChangeable(commit.superblock, {needsSlot: true});
				const snapshot = this.find(generation);
				const current = currentSnapshotOf(commit.superblock);
				if (commit.superblock.state !== 'normal') {
					throw new SessionError(
						'refused',
						`the container is ${commit.superblock.state} now; revert when that has ended`,
					);
				}

				if (snapshot.leafCount !== current.leafCount || snapshot.maxLevel !== current.maxLevel) {
					throw new SessionError(
						'refused',
						`the device had ${snapshot.leafCount} blocks when snapshot ${generation} was taken and has ${current.leafCount} now; it never shrinks, so it cannot be reverted: copy from the snapshot instead`,
					);
				}

				// Whether or not anything was changed: a write that failed may have left changed inner blocks, too.
				await commit.checkpointAnew();
				const newestKeptGeneration = Math.max(...keptGenerations(commit.superblock));
				await device.revert({tree: treeOf(commit.superblock, snapshot), newestKeptGeneration});
				this.#reversion = commit.noteChange();
				await commit.checkpoint();
			}),
		);
	}
}
