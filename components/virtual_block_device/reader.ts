/**
 * Reading (format section 3): resolve the leaves, one read of the medium, one call to the crypto server, for all the
 * pieces of a batch together.
 *
 * Reads do not lock. A block that a write replaced meanwhile may be overwritten on the medium before it was read; it
 * then fails its label, and the read looks at the tree again. Only a block that fails again and again for the same node
 * is bad.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {Generation, KeyId, Pba, Vba} from '../sessions/vocabulary.js';
import {extentsOf} from '../lib/format/extents.js';
import {blockSize} from '../lib/format/geometry.js';
import type {HashTree, Path} from '../lib/tree/hash-tree.js';
import {labelLength} from '../lib/format/label.js';
import type {Device} from './device.js';
import {isKeyMissing} from './missing-key.js';
import {lowestLeaves} from './placement.js';
import type {Outcomes, Range, ReadPiece} from './request-queue.js';

/** A block is looked up anew this often while writes replace it again and again. */
const attemptMax = 16;

/**
 * A block that fails this often in a row for the same node is damaged. (Twice is not enough: a block may be overwritten
 * in place and then again with what it was before, each time just when it is read.)
 */
const failureMax = 4;

/** Written blocks of a batch that one key has sealed, as vectors: what is kept for each block costs every read. */
interface Targets {
	/** The key when they were looked up; a rekeying may go past them meanwhile. */
	readonly keyId: KeyId;
	/** Indexes of their pieces in the batch. */
	readonly pieces: number[];
	readonly vbas: Vba[];
	readonly addresses: Pba[];
	readonly generations: Generation[];
	/** Room for all labels of the batch, 32 bytes each. */
	readonly labels: Uint8Array;
	/** Where the blocks go, neighbours of one piece joined. */
	readonly plain: Uint8Array[];
}

/** A node that did not match what it points to. */
interface Suspect {
	readonly vba: Vba;
	readonly address: Pba;
	readonly label: Uint8Array;
}

function sameNode(a: Suspect, b: Suspect): boolean {
	return a.vba === b.vba && a.address === b.address && Buffer.compare(a.label, b.label) === 0;
}

function blockCountOf(batch: readonly ReadPiece[]): number {
	let total = 0;
	for (const {count} of batch) {
		total += count;
	}

	return total;
}

/** The blocks of a piece from `start` up to `end`. */
function partOf({count, data}: ReadPiece, start: number, end: number): Uint8Array {
	return start === 0 && end === count ? data : data.subarray(start * blockSize, end * blockSize);
}

export class Reader {
	readonly #device: Device;
	readonly #writeRunning: (piece: Range) => Promise<void> | undefined;

	/** @param writeRunning the end of a running write that overlaps a piece */
	constructor(device: Device, writeRunning: (piece: Range) => Promise<void> | undefined) {
		this.#device = device;
		this.#writeRunning = writeRunning;
	}

	/** Reads pieces of a tree. Only the pieces that fail have an outcome. */
	async read(batch: readonly ReadPiece[], tree: () => HashTree): Promise<Outcomes> {
		const outcomes: unknown[] = batch.map(() => undefined);
		let again: number[];
		try {
			const suspects = await this.#attempt(batch, tree);
			again = [...suspects.keys()];
		} catch (error) {
			if (isKeyMissing(error, this.#device.keys)) {
				// Each would wait for it once more, and in vain.
				return batch.map(() => error);
			}

			// Something about the batch as a whole failed: alone, each piece gets what is its own.
			again = [...batch.keys()];
		}

		for (const index of again) {
			try {
				await this.#readAlone(batch[index], tree);
			} catch (error) {
				outcomes[index] = error;
			}
		}

		return outcomes;
	}

	async #readAlone(piece: ReadPiece, tree: () => HashTree): Promise<void> {
		let before: Suspect | undefined;
		let failures = 0;
		for (let attempt = 0; attempt < attemptMax; attempt++) {
			const suspect = (await this.#attempt([piece], tree)).get(0);
			if (!suspect) {
				return;
			}

			failures = before && sameNode(before, suspect) ? failures + 1 : 1;
			if (failures === failureMax) {
				const {address, vba} = suspect;
				throw new SessionError(
					'integrity',
					`the data block at PBA ${address} (level 0, VBA ${vba}) does not match the hash in its parent`,
					{address, level: 0, vba},
				);
			}

			before = suspect;
		}

		throw new SessionError('device_failed', `VBA ${piece.vba} is being replaced faster than it can be read`);
	}

	/** One pass over a batch; the result names a suspect node for each piece that did not match. */
	async #attempt(batch: readonly ReadPiece[], tree: () => HashTree): Promise<Map<number, Suspect>> {
		for (const piece of batch) {
			for (let write = this.#writeRunning(piece); write; write = this.#writeRunning(piece)) {
				await write;
			}
		}

		const suspects = new Map<number, Suspect>();
		for (const targets of await this.#resolve(batch, tree)) {
			const {pieces, vbas, addresses, labels} = targets;
			for (const i of await this.#fetch(targets)) {
				suspects.set(pieces[i], {
					vba: vbas[i],
					address: addresses[i],
					label: labels.subarray(i * labelLength, (i + 1) * labelLength),
				});
			}
		}

		return suspects;
	}

	/**
	 * Finds the node of every block; blocks that were never written are zeroed at once. The tree is asked for anew
	 * after each wait: a rekeying may have taken it up meanwhile, and the old root leads to blocks under the old key.
	 */
	async #resolve(batch: readonly ReadPiece[], tree: () => HashTree): Promise<Targets[]> {
		for (;;) {
			const now = tree();
			const targets = this.#resolveHeld(batch, now);
			if (targets) {
				return targets;
			}

			await now.load(lowestLeaves(batch, now));
		}
	}

	/** The targets of each key; undefined where a block on the way is not held. */
	#resolveHeld(batch: readonly ReadPiece[], tree: HashTree): Targets[] | undefined {
		const found: Targets[] = [];
		const {nodes} = this.#device.held;
		const {degree} = tree.geometry;
		const logged = this.#device.loggedOf(tree);
		const path: Path = [];
		for (const [index, piece] of batch.entries()) {
			let lowest = -1;
			/** Where the blocks that are joined now begin, and what they belong to. */
			let start = 0;
			let joined: Targets | undefined;
			for (let i = 0; i < piece.count; i++) {
				const vba = piece.vba + i;
				const first = vba - (vba % degree);
				if (first !== lowest) {
					if (tree.walk(vba, path)) {
						return undefined;
					}

					lowest = first;
				}

				const nodeIndex = vba - first;
				const change = logged?.get(vba);
				const generation = change ? this.#device.currentGeneration : nodes.generation(path[1], nodeIndex);
				const isWritten =
					change !== undefined || (generation !== 0 && !this.#device.isEmptied(path[1], nodeIndex));
				const targets = isWritten ? this.#targetsOf(found, this.#device.keyOf(vba), batch) : undefined;
				if (targets !== joined) {
					joined?.plain.push(partOf(piece, start, i));
					joined = targets;
					start = i;
				}

				if (targets) {
					if (change) {
						targets.labels.set(change.label, targets.vbas.length * labelLength);
					} else {
						nodes.copyHash(path[1], nodeIndex, targets.labels, targets.vbas.length * labelLength);
					}

					targets.pieces.push(index);
					targets.vbas.push(vba);
					targets.addresses.push(change ? change.address : nodes.address(path[1], nodeIndex));
					targets.generations.push(generation);
				} else {
					partOf(piece, i, i + 1).fill(0);
				}
			}

			joined?.plain.push(partOf(piece, start, piece.count));
		}

		return found;
	}

	/** The targets of that key, which may be new. @throws SessionError `integrity` where nobody has the key */
	#targetsOf(found: Targets[], keyId: KeyId, batch: readonly ReadPiece[]): Targets {
		for (const targets of found) {
			if (targets.keyId === keyId) {
				return targets;
			}
		}

		const {previousKeyId, rekeyingVba, isPreviousKeyLost} = this.#device.keys;
		if (isPreviousKeyLost && keyId === previousKeyId) {
			throw new SessionError(
				'integrity',
				`blocks from VBA ${rekeyingVba} on cannot be decrypted: the rekeying that was going on there did not store their key`,
				{vba: rekeyingVba},
			);
		}

		const targets: Targets = {
			keyId,
			pieces: [],
			vbas: [],
			addresses: [],
			generations: [],
			labels: new Uint8Array(blockCountOf(batch) * labelLength),
			plain: [],
		};
		found.push(targets);
		return targets;
	}

	/** Reads and opens; replies with the indexes of what does not match its label. */
	async #fetch({keyId, addresses, vbas, generations, labels, plain}: Targets): Promise<readonly number[]> {
		const {env, servers} = this.#device;
		const lease = await env.leaseWhenFree(addresses.length * blockSize);
		try {
			const sealed = lease.bytes;
			await servers.block.read({extents: extentsOf(addresses), data: sealed});
			this.#device.unsettled.correct(addresses, sealed);
			const {mismatched} = await servers.crypto.open({
				keyId,
				addresses,
				vbas,
				generations,
				labels: labels.subarray(0, addresses.length * labelLength),
				sealed,
				plain,
			});
			return mismatched;
		} finally {
			lease.release();
		}
	}
}
