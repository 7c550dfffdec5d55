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
import {byteSize} from '../container/size-config.js';
import {Turn} from '../container/turn.js';
import {block} from '../sessions/block.js';
import {crypto} from '../sessions/crypto.js';
import {deviceControl} from '../sessions/device-control.js';
import {freeTree} from '../sessions/free-tree.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {DeviceUsage} from './device-usage.js';
import {DeviceWrites} from './device-writes.js';
import {addKeys, openOrCreate, openTrees} from './opening.js';
import {Securing} from './securing.js';
import {Operations} from './operations.js';
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
		/** Bytes per second that a rekeying may go through, e.g. 20M; as many as it can where it is left out. */
		rekeying_rate: byteSize().optional(),
	}),
	async start({config, sessions, env}) {
		const {superblock, slot} = await openOrCreate(sessions, env, config.create?.[0]);
		await addKeys(sessions, superblock);
		const currentGeneration = await openTrees(sessions, superblock);
		env.log(`opened generation ${superblock.lastSecuredGeneration} from slot ${slot}`);

		const securing = new Securing(sessions, {superblock, slot, currentGeneration}, reason => env.fail(reason));
		const blockCount = () => currentSnapshotOf(securing.superblock).leafCount;

		const usage = new DeviceUsage(sessions, securing, env);
		const secure = async () => {
			await securing.flush();
			usage.noteSecured();
		};

		const gate = new Gate();
		const turn = new Turn();
		let requestCount = 0;
		const operations = new Operations({
			servers: sessions,
			securing,
			env,
			turn,
			activity: () => requestCount,
			secure,
			rekeyingRate: config.rekeying_rate,
		});
		const writes = new DeviceWrites(sessions.virtual_block_device, securing, secure);
		const snapshots = new Snapshots({
			securing,
			device: sessions.virtual_block_device,
			gate,
			turn,
			edit: async edit => securing.edit(edit),
			secure,
		});
		await operations.resumePending();
		return {
			provides: {
				block: {
					geometry: () => ({blockCount: blockCount(), writable: true, growable: false}),
					async read({extents, data}) {
						requestCount++;
						requireFit(extents, data, blockCount());
						await sessions.virtual_block_device.read({extents, data});
						return {};
					},
					async write({extents, data}) {
						requestCount++;
						requireFit(extents, data, blockCount());
						await gate.enter();
						try {
							await writes.write(extents, data);
						} finally {
							gate.leave();
						}

						return {};
					},
					async clear({extents}) {
						requestCount++;
						if (extentsBlockCount(extents, blockCount()) === undefined) {
							throw new SessionError('out_of_range', `the extents ${extents.join('+')} do not fit the device of ${blockCount()} blocks`);
						}

						await gate.enter();
						try {
							await writes.clear(extents);
						} finally {
							gate.leave();
						}

						return {};
					},
					async sync() {
						requestCount++;
						await secure();
						return {};
					},
					grow() {
						throw new SessionError('out_of_range', 'the device grows only by an extension of its container');
					},
				},
				device_control: {
					async status() {
						const pool = await usage.pool();
						return {
							state: securing.superblock.state,
							blockCount: blockCount(),
							currentGeneration: securing.currentGeneration,
							lastSecuredGeneration: securing.superblock.lastSecuredGeneration,
							cipher: securing.superblock.cipher,
							poolLeafCount: pool.leafCount,
							poolAllocatableCount: pool.allocatableCount,
							poolHeldCount: pool.heldCount,
							poolSecondsLeft: usage.secondsLeft,
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
					async extend(extension) {
						await operations.extend(extension);
						return {};
					},
					async rekey() {
						await operations.rekey();
						return {};
					},
					operations: () => operations.status,
					pause({operation}) {
						operations.pause(operation);
						return {};
					},
					resume({operation}) {
						operations.resume(operation);
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
				crypto: async () => addKeys(sessions, securing.latest),
			},
			async stop() {
				await operations.stop();
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
