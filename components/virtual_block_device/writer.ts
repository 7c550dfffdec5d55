/**
 * Writing (format section 4): one exchange with the free tree, one call to the crypto server and one write of the
 * medium for all the pieces of a batch together. Labels of inner blocks are computed when the tree is stored.
 *
 * What a secured state refers to is never overwritten: only a block of the current generation that no flush log names
 * is written in place. Where the medium fails then, the block's content is kept and the block settled later.
 */
import {isSessionError, SessionError} from '../../runtime/sdk/session.js';
import type {KeyId, Pba, Vba} from '../sessions/vocabulary.js';
import type {LeafChanges} from '../lib/format/flush-log.js';
import {lockWatch} from '../lib/sync/lock-order.js';
import {ReadWriteLock} from '../lib/sync/read-write-lock.js';
import {blockSize} from '../lib/format/geometry.js';
import type {Path} from '../lib/tree/hash-tree.js';
import {labelLength} from '../lib/format/label.js';
import type {Device} from './device.js';
import {isKeyMissing, withKeys} from './missing-key.js';
import {Placement, type LeafPlaces, type Leaf} from './placement.js';
import type {Outcomes, Range, WritePiece} from './request-queue.js';
import type {Discarder} from './discarder.js';
import type {UnsettledBlock} from './unsettled-blocks.js';

const noLabel = new Uint8Array(labelLength);

/** The part of a piece that lies in [from, to). */
function partOf({vba, count, change}: WritePiece, from: Vba, to: Vba): WritePiece[] {
	const first = Math.max(vba, from);
	const end = Math.min(vba + count, to);
	if (first >= end) {
		return [];
	}

	const data =
		change.kind === 'write' ? change.data.subarray((first - vba) * blockSize, (end - vba) * blockSize) : undefined;
	return [{vba: first, count: end - first, change: data ? {kind: 'write', data} : {kind: 'clear'}}];
}

/** The result of `first` once `other` has ended too. */
async function settled<T>(first: Promise<T>, other: Promise<unknown>): Promise<T> {
	await Promise.allSettled([first, other]);
	return first;
}

export class Writer {
	readonly #device: Device;
	readonly #treeLock = new ReadWriteLock('trees');
	readonly #discarder: Discarder;
	readonly placement: Placement;

	constructor(device: Device, discarder: Discarder) {
		this.#device = device;
		this.#discarder = discarder;
		this.placement = new Placement(device);
	}

	/** Does what the pieces ask for, together where they are alike. */
	async write(batch: readonly WritePiece[]): Promise<Outcomes> {
		const outcomes: unknown[] = new Array(batch.length).fill(undefined);
		for (const kind of ['write', 'clear'] as const) {
			const indexes: number[] = [];
			for (let i = 0; i < batch.length; i++) {
				if (batch[i].change.kind === kind) {
					indexes.push(i);
				}
			}

			if (indexes.length > 0) {
				await this.#writeSeparable(indexes, batch, outcomes);
			}
		}

		return outcomes;
	}

	/**
	 * Makes ranges read as zeroes, as if never written. Leaves of older generations are exchanged, since a leaf that
	 * was never written is later written in place. With no other write to them under way.
	 */
	async clear(ranges: readonly Range[], keyId: KeyId, places?: LeafPlaces): Promise<Leaf[]> {
		const {
			held: {nodes},
		} = this.#device;
		const leaves = await this.placement.allocate(ranges, keyId, {places});
		this.#device.changes.noteOther();
		this.#device.unsettled.forget(leaves.map(({address}) => address));
		for (const {frame, index, address} of leaves) {
			nodes.setPlace(frame, index, address, 0);
			nodes.setHash(frame, index, noLabel, 0);
		}

		return leaves;
	}

	/**
	 * The same where leaves can be emptied: they keep place and generation, so that a snapshot keeps what it has in
	 * that place, and the pool gives nothing but what the blocks above them need. What was written since the last
	 * secured state, and is in no log, belongs to nobody else: such a leaf is as one that was never written, and is
	 * replied.
	 */
	async empty(ranges: readonly Range[], keyId: KeyId, places?: LeafPlaces): Promise<Leaf[]> {
		const {
			currentGeneration,
			changes,
			held: {nodes},
		} = this.#device;
		const leaves = await this.placement.allocate(ranges, keyId, {places, keepsLeaves: true, relief: true});
		changes.noteOther();
		this.#device.unsettled.forget(leaves.map(({address}) => address));
		const unwritten: Leaf[] = [];
		for (const leaf of leaves) {
			const {frame, index, vba, address} = leaf;
			const generation = places?.get(vba)?.generation ?? nodes.generation(frame, index);
			const isOwn = generation === currentGeneration && !changes.mustMove(vba);
			nodes.setPlace(frame, index, address, isOwn ? 0 : generation);
			nodes.setHash(frame, index, noLabel, 0);
			if (isOwn) {
				unwritten.push(leaf);
			}
		}

		return unwritten;
	}

	/** Stores the tree and the pool as one state, with no write under way. */
	async store(nextGeneration: number, isRootKept: boolean) {
		return this.exclusivelyBooked(async () => {
			const {tree, servers} = this.#device;
			if (isRootKept && tree.root.root.generation !== this.#device.currentGeneration) {
				await this.#moveRoot();
			}

			const storing = this.#device.storeTrees();
			// The tree lock must not be released before both have ended, whatever becomes of either.
			const [pool, storedBlockCount] = [await settled(servers.free_tree.store({}), storing), await storing];
			await servers.free_tree.begin({currentGeneration: nextGeneration});
			this.#device.currentGeneration = nextGeneration;
			this.#device.placedByRekeying.clear();
			this.#device.changes.reset();
			this.placement.stock.noteStored();
			const {changedSnapshots: snapshots} = this.#device;
			return {...pool, tree: tree.root, snapshots, storedBlockCount: storedBlockCount + pool.storedBlockCount};
		});
	}

	/** A pool without room for it is no reason to secure nothing. */
	async #moveRoot(): Promise<void> {
		try {
			await this.placement.inTurn(async () => this.placement.moveRoot(this.#device.keyOf(0)));
		} catch (error) {
			if (!isSessionError(error) || error.code !== 'no_space') {
				throw error;
			}
		}
	}

	/** The leaves that a flush log has to name, with no write under way. */
	async log(countMax: number): Promise<{changes: LeafChanges | null}> {
		return this.exclusively(async () => ({changes: this.#device.changes.take(countMax, this.#device) ?? null}));
	}

	/**
	 * Runs `job` with no write under way, and all that was written where the tree says. @throws SessionError of the
	 * medium
	 */
	async exclusively<T>(job: () => Promise<T>): Promise<T> {
		return this.#treeLock.exclusively(async () => {
			await this.#settle();
			return job();
		});
	}

	/** The same with the pool's books exact, and nothing taken ahead. */
	async exclusivelyBooked<T>(job: () => Promise<T>): Promise<T> {
		return this.exclusively(async () => {
			await this.placement.stock.giveBack();
			return job();
		});
	}

	/** Runs `job` with no write under way, whatever failed writes have left behind. */
	async exclusivelyAnyhow<T>(job: () => Promise<T>): Promise<T> {
		return this.#treeLock.exclusively(job);
	}

	/** Has the medium take what it refused before. With no write under way. */
	async #settle(): Promise<void> {
		const {unsettled} = this.#device;
		if (this.#device.isStoringDue) {
			await this.#device.storeTrees();
		}

		const {blocks} = unsettled;
		if (blocks.length === 0) {
			return;
		}

		try {
			await this.#device.writeBlocks(
				blocks.map(({address}) => address),
				Buffer.concat(blocks.map(({sealed}) => sealed)),
			);
		} catch (error) {
			// A medium that fails may do so in one place only.
			if (!(error instanceof SessionError) || error.code === 'no_space') {
				throw error;
			}

			for (const block of blocks) {
				await this.#settleAlone(block);
			}
		}
	}

	/** Writes an unsettled block once more or, where the medium does not write its place any more, in another one. */
	async #settleAlone(block: UnsettledBlock): Promise<void> {
		try {
			await this.#device.writeBlocks([block.address], block.sealed);
		} catch (error) {
			if (!(error instanceof SessionError) || error.code === 'no_space') {
				throw error;
			}

			await withKeys(async () => this.#moveAway(block));
		}
	}

	async #moveAway({vba, address, sealed}: UnsettledBlock): Promise<void> {
		const {
			env,
			servers,
			tree,
			unsettled,
			changes,
			held: {nodes},
		} = this.#device;
		const path: Path = [];
		while (tree.walk(vba, path)) {
			await tree.load([vba]);
		}

		const index = vba % tree.geometry.degree;
		const keyId = this.#device.keyOf(vba);
		const labels = Uint8Array.from(nodes.hash(path[1], index));
		const generations = [nodes.generation(path[1], index)];
		const plain = await env.leaseWhenFree(blockSize);
		try {
			const {mismatched} = await servers.crypto.open({
				keyId,
				addresses: [address],
				vbas: [vba],
				generations,
				labels,
				sealed,
				plain: [plain.bytes],
			});
			if (mismatched.length > 0) {
				throw new Error(`what is kept for VBA ${vba} does not match its label`);
			}

			changes.noteMisplaced(vba);
			await this.#place([{vba, count: 1, change: {kind: 'write', data: plain.bytes}}], [plain.bytes], keyId);
			unsettled.forget([address]);
		} finally {
			plain.bytes.fill(0);
			plain.release();
		}
	}

	/** Writes pieces together; where that fails, each alone, so that none suffers from another. */
	async #writeSeparable(
		indexes: readonly number[],
		batch: readonly WritePiece[],
		outcomes: unknown[],
	): Promise<void> {
		try {
			await this.#writeTogether(indexes.length === batch.length ? batch : indexes.map(index => batch[index]));
		} catch (error) {
			// Without a key each would wait for it once more, and in vain.
			if (indexes.length === 1 || isKeyMissing(error, this.#device.keys)) {
				for (const index of indexes) {
					outcomes[index] = error;
				}

				return;
			}

			for (const index of indexes) {
				await this.#writeSeparable([index], batch, outcomes);
			}
		}
	}

	/** Does pieces with the same kind of change. */
	async #writeTogether(whole: readonly WritePiece[]): Promise<void> {
		await this.#lockSettled(whole[0].change.kind);

		try {
			// While the tree lock is held no rekeying step moves the border between the keys.
			const {
				keys: {previousKeyId, rekeyingVba},
			} = this.#device;
			if (previousKeyId === 0) {
				await this.#writeLocked(whole);
			} else {
				await this.#writeLocked(whole.flatMap(piece => partOf(piece, 0, rekeyingVba)));
				await this.#writeLocked(whole.flatMap(piece => partOf(piece, rekeyingVba, Infinity)));
			}
		} finally {
			this.#treeLock.unlockShared();
		}
	}

	/**
	 * Takes the tree lock shared, with nothing waiting for the medium: that has to stay little, and trees of a rekeying
	 * may not be changed before they are stored. Clearing needs no room, so it waits for the trees alone.
	 */
	async #lockSettled(kind: WritePiece['change']['kind']): Promise<void> {
		const {unsettled} = this.#device;
		for (;;) {
			if (!this.#treeLock.tryLockShared()) {
				await this.#treeLock.lockShared();
			}

			if (!this.#device.isStoringDue && (unsettled.count === 0 || kind === 'clear')) {
				return;
			}

			this.#treeLock.unlockShared();
			await this.exclusively(async () => undefined);
		}
	}

	/** With the tree lock. */
	#writeLocked(pieces: readonly WritePiece[]): Promise<void> {
		return lockWatch
			? lockWatch.holding('trees', async () => this.#writeWithOneKey(pieces))
			: this.#writeWithOneKey(pieces);
	}

	async #writeWithOneKey(pieces: readonly WritePiece[]): Promise<void> {
		if (pieces.length > 0) {
			const keyId = this.#device.keyOf(pieces[0].vba);
			await (pieces[0].change.kind === 'write'
				? this.#place(
						pieces,
						pieces.flatMap(({change}) => (change.kind === 'write' ? change.data : [])),
						keyId,
					)
				: this.#clearWritten(pieces, keyId));
		}
	}

	async #place(pieces: readonly WritePiece[], plain: Uint8Array[], keyId: KeyId): Promise<void> {
		const leaves = await this.placement.allocate(pieces, keyId);
		try {
			this.setLeaves(leaves, await this.#transfer(plain, leaves, keyId));
		} catch (error) {
			await this.placement.giveBack(leaves);
			throw error;
		}
	}

	/** Clears what has content of the pieces; the rest reads as zeroes already and needs no change of the tree. */
	async #clearWritten(pieces: readonly WritePiece[], keyId: KeyId): Promise<void> {
		const written = await this.#writtenIn(pieces);
		if (written.length === 0) {
			return;
		}

		if (this.#device.emptiesLeaves) {
			const unwritten = await this.empty(written, keyId);
			this.#discarder.noteEmptied(written);
			await this.#discarder.clearPlaces(unwritten.map(({address}) => address));
		} else {
			const leaves = await this.clear(written, keyId);
			this.#discarder.note(leaves.flatMap(({poolLeaf}) => (poolLeaf < 0 ? [] : poolLeaf)));
			// The places of the leaves themselves: fresh from the pool, or of this generation. No secured state knows
			// their content.
			await this.#discarder.clearPlaces(leaves.map(({address}) => address));
		}
	}

	async #writtenIn(pieces: readonly Range[]): Promise<Range[]> {
		const {tree} = this.#device;
		const written: Range[] = [];
		for (const {vba, count} of pieces) {
			const path: Path = [];
			for (let leaf = vba; leaf < vba + count; leaf++) {
				while (tree.walk(leaf, path)) {
					await tree.load([leaf]);
				}

				const last = written.at(-1);
				if (!this.#device.isWritten(path[1], leaf % tree.geometry.degree)) {
					continue;
				} else if (last && last.vba + last.count === leaf) {
					last.count++;
				} else {
					written.push({vba: leaf, count: 1});
				}
			}
		}

		return written;
	}

	/** Seals the data and writes it to its places. */
	async #transfer(plain: Uint8Array[], leaves: readonly Leaf[], keyId: KeyId): Promise<Uint8Array> {
		// No checkpoint ends the generation while the tree lock is held.
		const {env, servers, currentGeneration} = this.#device;
		const lease = await env.leaseWhenFree(leaves.length * blockSize);
		try {
			const addresses = leaves.map(({address}) => address);
			const {labels} = await servers.crypto.seal({
				keyId,
				addresses,
				vbas: leaves.map(({vba}) => vba),
				generations: leaves.map(() => currentGeneration),
				plain,
				sealed: lease.bytes,
			});
			try {
				await this.#device.writeBlocks(addresses, lease.bytes);
			} catch (error) {
				await this.#keepOverwritten(leaves, labels, lease.bytes);
				throw error;
			}

			return labels;
		} finally {
			lease.release();
		}
	}

	/**
	 * A write has failed, and a part of it may have happened. Leaves that were written in place may have lost what they
	 * held: they have the new content from now on, which the medium gets at once or later. All others keep their old
	 * places.
	 */
	async #keepOverwritten(leaves: readonly Leaf[], labels: Uint8Array, sealed: Uint8Array): Promise<void> {
		const {
			unsettled,
			currentGeneration,
			held: {nodes},
		} = this.#device;
		const overwritten: Pba[] = [];
		for (const [i, leaf] of leaves.entries()) {
			const {frame, index, vba, address, poolLeaf} = leaf;
			if (poolLeaf < 0 && nodes.generation(frame, index) === currentGeneration) {
				unsettled.keep({vba, address, sealed: sealed.subarray(i * blockSize, (i + 1) * blockSize)});
				this.setLeaves([leaf], labels.subarray(i * labelLength, (i + 1) * labelLength));
				overwritten.push(address);
			}
		}

		if (overwritten.length > 0) {
			const content = Buffer.alloc(overwritten.length * blockSize);
			unsettled.correct(overwritten, content);
			// The reason is told already; what fails again waits.
			await this.#device.writeBlocks(overwritten, content).catch((error: unknown) => {
				if (!(error instanceof SessionError)) {
					throw error;
				}
			});
		}
	}

	/** The leaves have new content in their places, with these labels. */
	setLeaves(leaves: readonly Leaf[], labels: Uint8Array): void {
		const {
			currentGeneration,
			changes,
			held: {nodes},
		} = this.#device;
		for (let i = 0; i < leaves.length; i++) {
			const {frame, index, vba, address, poolLeaf} = leaves[i];
			nodes.setPlace(frame, index, address, currentGeneration);
			nodes.setHash(frame, index, labels, i * labelLength);
			changes.note(vba, poolLeaf);
		}
	}
}
