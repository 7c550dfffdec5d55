/**
 * virtual_block_device: the user's blocks in a hash tree.
 *
 * Guarantee: data is returned only when it matched its label, and every block on the way to it the hash in its parent;
 * a block that a secured state refers to is never overwritten.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {allEnded} from '../lib/sync/all-ended.js';
import {piecesOf, requireBlocks, requireExtents} from '../lib/format/extents.js';
import {HeldBlocks} from '../lib/tree/held-blocks.js';
import {block} from '../sessions/block.js';
import {cache} from '../sessions/cache.js';
import {crypto} from '../sessions/crypto.js';
import {freeTree} from '../sessions/free-tree.js';
import {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {allocationOf} from './leaf-allocation.js';
import {Device} from './device.js';
import {extend} from './extension.js';
import {withKeys, withKnownCode} from './missing-key.js';
import {Reader} from './reader.js';
import {RequestQueue, type Range, type ReadPiece, type WritePiece} from './request-queue.js';
import {Rekeying} from './rekeying.js';
import {replay} from './replay.js';
import {revertTo} from './revert.js';
import {Discarder} from './discarder.js';
import {Writer} from './writer.js';
import {verifyTrees} from './verification.js';
import {countWritten} from './written-count.js';
import {findWritten} from './written-part.js';

/** Blocks that one batch moves: 1 MiB. */
const batchBlockCount = 256;
/**
 * Batches under way at once: crypto and medium both have work, and what arrives meanwhile goes together. More of them
 * would be smaller ones: measured, four batches cost 1.6 times the CPU of two at depth 32.
 */
const batchCount = 2;

/** Batches that one request clears, one after another: 16 MiB. */
const clearedPieceMax = 16;

/** Held blocks for each piece under way: a level each, for as many batches as may run, with room to spare. */
const framesPerPiece = 32;

/** As messages name it. */
const owner = 'the device';

/** The pieces of a request, each of at most one batch. @throws SessionError where they do not fit the tree */
function batchPieces(extents: readonly number[], data: Uint8Array, leafCount: number): ReadPiece[] {
	requireExtents(extents, leafCount, owner);
	return piecesOf(extents, data, batchBlockCount);
}

function writeOf({vba, count, data}: ReadPiece): WritePiece {
	return {vba, count, change: {kind: 'write', data}};
}

export default defineComponent({
	provides: {virtual_block_device: virtualBlockDevice},
	requires: {cache, block, crypto, free_tree: freeTree},
	stateful: true,
	wokenBySessionsOnly: true,
	config: z.strictObject({
		/** `no`: blocks that nobody needs any more keep their room on the medium. */
		discard: z.enum(['yes', 'no']).default('yes'),
	}),
	async start({config, sessions, env}) {
		const device = new Device(await HeldBlocks.attach(sessions.cache), sessions, env);
		const discarder = new Discarder(device, config.discard === 'yes');
		const writer = new Writer(device, discarder);
		// The ways of everything that is under way have to fit in the cache together.
		const limits = {batchBlockCount, batchCount, pieceCount: Math.floor(device.held.frameCount / framesPerPiece)};
		const rekeying = new Rekeying(device, writer.placement);
		const writes = new RequestQueue<WritePiece>({...limits, exclusive: true}, async batch => writer.write(batch));
		const reader = new Reader(device, piece => writes.running(piece));
		const reads = new RequestQueue<ReadPiece>({...limits, exclusive: false}, async batch =>
			reader.read(batch, () => device.tree),
		);
		let integrityErrorCount = 0;

		/** Adds pieces to a queue and waits for all, whose data is one request's; damage that they meet is logged. */
		async function serve<P>(
			pieces: readonly P[],
			add: (piece: P) => Promise<void>,
		): Promise<Record<string, never>> {
			try {
				await (pieces.length === 1 ? add(pieces[0]) : allEnded(pieces.map(add)));
			} catch (error) {
				if (error instanceof SessionError && error.code === 'integrity') {
					integrityErrorCount++;
					env.log(`integrity error: ${error.message}`, 'error');
				}

				throw withKnownCode(error);
			}

			return {};
		}

		async function clearPart({vba, count}: Range): Promise<{isChanged: boolean; nextVba: number | null}> {
			const end = vba + count;
			requireBlocks(vba, count, device.tree.geometry.leafCount, owner);
			let isChanged = false;
			for (let piece = 0, next = vba; ; piece++) {
				const found = await findWritten(device, next, end);
				if (!found.isWritten || piece === clearedPieceMax) {
					return {isChanged, nextVba: found.vba < end ? found.vba : null};
				}

				const range = {vba: found.vba, count: Math.min(batchBlockCount, end - found.vba)};
				try {
					await serve([range], async () => writes.add({...range, change: {kind: 'clear'}}));
				} catch (error) {
					if (isChanged) {
						// Who goes on there meets it again.
						return {isChanged, nextVba: found.vba};
					}

					throw error;
				}

				isChanged = true;
				next = range.vba + range.count;
			}
		}

		return {
			provides: {
				virtual_block_device: {
					async open(request) {
						await Promise.all([writes.settled(), reads.settled()]);
						await writer.exclusivelyAnyhow(async () => {
							await writer.placement.stock.forget();
							device.open(request);
							discarder.forget();
						});
						return {};
					},
					// Not `async`: a promise that is handed through one more arrives later.
					read: ({extents, data}) =>
						serve(batchPieces(extents, data, device.tree.geometry.leafCount), piece => reads.add(piece)),
					write: ({extents, data}) =>
						serve(batchPieces(extents, data, device.tree.geometry.leafCount), piece =>
							writes.add(writeOf(piece)),
						),
					clear: clearPart,
					async allocation({snapshot, first, count}) {
						const {leafCount} = snapshot?.tree ?? device.tree.geometry;
						requireBlocks(first, count, leafCount, owner);
						return {
							runs: await allocationOf(
								device,
								() => (snapshot ? device.snapshotTree(snapshot) : device.tree),
								{first, count},
							),
						};
					},
					count_written: async request => countWritten(device, request),
					async read_snapshot({snapshot, extents, data}) {
						return serve(batchPieces(extents, data, snapshot.tree.leafCount), async piece => {
							const [failure] = await reader.read([piece], () => device.snapshotTree(snapshot));
							if (failure !== undefined) {
								throw failure instanceof Error ? failure : new Error('reading the snapshot failed');
							}
						});
					},
					async revert({tree, newestKeptGeneration}) {
						await Promise.all([writes.settled(), reads.settled()]);
						await writer.exclusivelyBooked(async () => {
							device.changes.noteOther();
							await revertTo(device, writer, {snapshot: tree, newestKeptGeneration});
						});
						return {};
					},
					set_keys(keys) {
						device.setKeys(keys);
						return {};
					},
					rekey: async ({snapshots, ...limits}) =>
						writer.exclusivelyBooked(async () => {
							device.changes.noteOther();
							const step = await withKeys(async () => rekeying.step(snapshots, limits));
							integrityErrorCount += step.lostBlockCount;
							return {rekeyingVba: device.keys.rekeyingVba, ...step};
						}),
					verify: async request =>
						writer.exclusively(async () => withKeys(async () => verifyTrees(device, request))),
					async reclaim({lastSecuredGeneration, snapshots, snapshotGone, endLeaf}) {
						if (snapshotGone !== null) {
							discarder.noteSnapshotGone(snapshotGone);
						}

						return {
							remainder: await writer.exclusivelyAnyhow(async () => {
								// What is taken ahead would not be told as spare.
								await writer.placement.stock.giveBack();
								return discarder.step(lastSecuredGeneration, {snapshots, endLeaf});
							}),
						};
					},
					extend: async request =>
						writer.exclusivelyBooked(async () => {
							device.changes.noteOther();
							return extend(device, request);
						}),
					async log({countMax}) {
						// Writes that came together with the flush are worth waiting for: their own flush often follows
						// at once.
						await writes.started();
						return writer.log(countMax);
					},
					replay: async changes => {
						await writer.exclusively(async () => replay(device, writer, changes));
						return {};
					},
					read_with: async changes => {
						device.readWith(changes);
						return {};
					},
					async book() {
						await writer.placement.stock.book();
						return {};
					},
					store: async ({nextGeneration, isRootKept}) => writer.store(nextGeneration, isRootKept),
				},
			},
			status: () => ({
				changed_inner_blocks: device.held.dirtyCount,
				integrity_errors: integrityErrorCount,
				reclaimed_blocks: discarder.clearedBlockCount,
			}),
		};
	},
});
