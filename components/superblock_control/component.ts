/**
 * superblock_control: the finished device. Opens the container, keeps generations and snapshots, and secures the state.
 *
 * Guarantee: what was acknowledged before an acknowledged `sync` survives every crash; a state that the trust anchor
 * does not know is never opened.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {ContainerDimensions} from '../container/dimensions-config.js';
import {extentsBlockCount} from '../container/extents.js';
import {Gate} from '../container/gate.js';
import {blockSize} from '../container/geometry.js';
import {block} from '../sessions/block.js';
import {crypto} from '../sessions/crypto.js';
import {deviceControl} from '../sessions/device-control.js';
import {freeTree} from '../sessions/free-tree.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {DeviceWrites} from './device-writes.js';
import {addKeys, openOrCreate, openTrees, requireNormalState} from './opening.js';
import {Securing, SecuringInterrupted} from './securing.js';
import {Snapshots} from './snapshots.js';
import {currentSnapshotOf, keptSnapshots} from './transition.js';

function requireFit(extents: readonly number[], data: Uint8Array, blockCount: number): void {
	const total = extentsBlockCount(extents, blockCount);
	if (total === undefined || total * blockSize !== data.length) {
		throw new SessionError('out_of_range', `a request for ${data.length} bytes at ${extents.join('+')} does not fit the device of ${blockCount} blocks`);
	}
}

export default defineComponent({
	provides: {block, device_control: deviceControl},
	requires: {virtual_block_device: virtualBlockDevice, free_tree: freeTree, block, trust_anchor: trustAnchor, crypto},
	stateful: true,
	config: z.strictObject({
		/** Where there is no container yet, create one like this. */
		create: z.array(ContainerDimensions).max(1).optional(),
	}),
	async start({config, sessions, env}) {
		const {superblock, slot} = await openOrCreate(sessions, env, config.create?.[0]);
		requireNormalState(superblock);
		await addKeys(sessions, superblock);
		const currentGeneration = await openTrees(sessions, superblock);
		env.log(`opened generation ${superblock.lastSecuredGeneration} from slot ${slot}`);

		const securing = new Securing(sessions, {superblock, slot, currentGeneration});
		const blockCount = () => currentSnapshotOf(securing.superblock).leafCount;

		/** A securing that stops half-way leaves open which state counts: only a reopening tells. */
		async function reopenOnInterruption(job: () => Promise<void>): Promise<void> {
			try {
				await job();
			} catch (error) {
				if (error instanceof SecuringInterrupted) {
					env.fail(error.message);
				}

				throw error;
			}
		}

		const secure = async () => reopenOnInterruption(async () => securing.flush());
		const gate = new Gate();
		const writes = new DeviceWrites(sessions.virtual_block_device, securing, secure);
		const snapshots = new Snapshots({
			securing,
			device: sessions.virtual_block_device,
			gate,
			edit: async edit => reopenOnInterruption(async () => securing.edit(edit)),
			secure,
		});
		return {
			provides: {
				block: {
					geometry: () => ({blockCount: blockCount(), writable: true, growable: false}),
					async read({extents, data}) {
						requireFit(extents, data, blockCount());
						await sessions.virtual_block_device.read({extents, data});
						return {};
					},
					async write({extents, data}) {
						requireFit(extents, data, blockCount());
						await gate.enter();
						try {
							await writes.write(extents, data);
						} finally {
							gate.leave();
						}

						return {};
					},
					async sync() {
						await secure();
						return {};
					},
					grow() {
						throw new SessionError('out_of_range', 'the device grows only by an extension of its container');
					},
				},
				device_control: {
					async status() {
						const usage = await sessions.free_tree.usage({});
						return {
							state: securing.superblock.state,
							blockCount: blockCount(),
							currentGeneration: securing.currentGeneration,
							lastSecuredGeneration: securing.superblock.lastSecuredGeneration,
							cipher: securing.superblock.cipher,
							poolLeafCount: usage.leafCount,
							poolAllocatableCount: usage.allocatableCount,
							poolHeldCount: usage.heldCount,
						};
					},
					list_snapshots: () => ({
						snapshots: keptSnapshots(securing.superblock).map(({root: {generation}, leafCount, keep}) => ({generation, blockCount: leafCount, keep})),
					}),
					create_snapshot: async () => ({generation: await snapshots.create()}),
					async discard_snapshot({generation}) {
						await snapshots.discard(generation);
						return {};
					},
					async revert_snapshot({generation}) {
						await snapshots.revert(generation);
						env.log(`reverted to snapshot ${generation}`);
						return {};
					},
					async read_snapshot({generation, extents, data}) {
						requireFit(extents, data, snapshots.find(generation).leafCount);
						await snapshots.read(generation, extents, data);
						return {};
					},
				},
			},
			interrupted: {
				// A crypto server that came back has forgotten its keys; requests to it wait until it has them again.
				crypto: async () => addKeys(sessions, securing.superblock),
			},
			async stop() {
				await secure();
				for (const key of [securing.superblock.currentKey, securing.superblock.previousKey]) {
					if (key) {
						await sessions.crypto.remove_key({keyId: key.id});
					}
				}
			},
			status: () => ({generation: securing.superblock.lastSecuredGeneration, securings: securing.securedCount}),
		};
	},
});
