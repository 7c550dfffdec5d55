/**
 * Reading (format section 3): resolve the leaves, one read of the medium, one call to the crypto server, for all the
 * pieces of a batch together.
 *
 * Reads do not lock. A block that a write replaced meanwhile may be overwritten on the medium before it was read; it
 * then fails its label, and the read looks at the tree again. Only a block that fails again and again for the same node
 * is bad.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {KeyId, Pba, Vba} from '../container/addresses.js';
import {extentsOf} from '../container/extents.js';
import {blockSize} from '../container/geometry.js';
import type {HashTree, Path} from '../container/hash-tree.js';
import {labelLength} from '../container/label.js';
import type {Device} from './device.js';
import {lowestLeaves} from './placement.js';
import type {Outcomes, Range, ReadPiece} from './request-queue.js';

/** A block is looked up anew this often while writes replace it again and again. */
const attemptMax = 16;

/**
 * A block that fails this often in a row for the same node is damaged. (Twice is not enough: a block may be overwritten
 * in place and then again with what it was before, each time just when it is read.)
 */
const failureMax = 4;

/** One written block of a piece. */
interface Target {
	/** Index of the piece in its batch. */
	readonly piece: number;
	readonly vba: Vba;
	readonly address: Pba;
	readonly plain: Uint8Array;
	readonly label: Uint8Array;
	/** The key that sealed it when it was looked up; a rekeying may go past it meanwhile. */
	readonly keyId: KeyId;
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

/** Joins neighbouring blocks of the same piece, so that the crypto server sees few segments. */
function segmentsOf(targets: readonly Target[]): Uint8Array[] {
	const segments: Uint8Array[] = [];
	let start = targets[0].plain;
	let length = 0;
	for (const {plain} of targets) {
		if (length > 0 && (plain.buffer !== start.buffer || plain.byteOffset !== start.byteOffset + length)) {
			segments.push(Buffer.from(start.buffer, start.byteOffset, length));
			start = plain;
			length = 0;
		}

		length += blockSize;
	}

	segments.push(Buffer.from(start.buffer, start.byteOffset, length));
	return segments;
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
		} catch {
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
				throw new SessionError('integrity', `the data block at PBA ${address} (level 0, VBA ${vba}) does not match the hash in its parent`, {address, level: 0, vba});
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

		const targets = await this.#resolve(batch, tree);
		const suspects = new Map<number, Suspect>();
		for (const keyId of new Set(targets.map(target => target.keyId))) {
			const ofKey = targets.filter(target => target.keyId === keyId);
			for (const bad of await this.#fetch(ofKey, keyId)) {
				suspects.set(bad.piece, bad);
			}
		}

		return suspects;
	}

	/**
	 * Finds the node of every block; blocks that were never written are zeroed at once. The tree is asked for anew after
	 * each wait: a rekeying may have taken it up meanwhile, and the old root leads to blocks under the old key.
	 */
	async #resolve(batch: readonly ReadPiece[], tree: () => HashTree): Promise<Target[]> {
		for (;;) {
			const now = tree();
			const targets = this.#resolveHeld(batch, now);
			if (targets) {
				return targets;
			}

			await now.load(lowestLeaves(batch, now));
		}
	}

	#resolveHeld(batch: readonly ReadPiece[], tree: HashTree): Target[] | undefined {
		const targets: Target[] = [];
		const {nodes} = this.#device.held;
		const {degree} = tree.geometry;
		const path: Path = [];
		for (const [index, piece] of batch.entries()) {
			let lowest = -1;
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
				const plain = piece.data.subarray(i * blockSize, (i + 1) * blockSize);
				if (nodes.generation(path[1], nodeIndex) === 0) {
					plain.fill(0);
				} else {
					const label = Uint8Array.prototype.slice.call(nodes.hash(path[1], nodeIndex));
					targets.push({piece: index, vba, address: nodes.address(path[1], nodeIndex), plain, label, keyId: this.#device.keyOf(vba)});
				}
			}
		}

		return targets;
	}

	async #fetch(targets: readonly Target[], keyId: KeyId): Promise<Target[]> {
		const {env, servers} = this.#device;
		const lease = await env.leaseWhenFree(targets.length * blockSize);
		try {
			const sealed = lease.bytes;
			const addresses = targets.map(({address}) => address);
			const labels = new Uint8Array(targets.length * labelLength);
			for (const [i, {label}] of targets.entries()) {
				labels.set(label, i * labelLength);
			}

			await servers.block.read({extents: extentsOf(addresses), data: sealed});
			const {mismatched} = await servers.crypto.open({keyId, addresses, labels, sealed, plain: segmentsOf(targets)});
			return mismatched.map(index => targets[index]);
		} finally {
			lease.release();
		}
	}
}
