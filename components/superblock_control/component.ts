/**
 * superblock_control: the finished device. Opens the container, keeps generations and snapshots, and secures the state.
 *
 * Guarantee: what was acknowledged before an acknowledged `sync` survives every crash; a state that the trust anchor
 * does not know is never opened; while the device is locked no request is served, and no server here holds a key.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {ContainerDimensions} from '../lib/format/dimensions-config.js';
import {byteSize} from '../lib/format/size-config.js';
import {block} from '../sessions/block.js';
import {crypto} from '../sessions/crypto.js';
import {deviceControl} from '../sessions/device-control.js';
import {freeTree} from '../sessions/free-tree.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {CryptoKeys} from './crypto-keys.js';
import {DeviceAccess} from './device-access.js';
import {blockService, controlService} from './device-services.js';
import {sealedBlockCountMax} from './key-use.js';
import {openDevice} from './open-device.js';

export default defineComponent({
	provides: {block, device_control: deviceControl},
	requires: {virtual_block_device: virtualBlockDevice, free_tree: freeTree, block, trust_anchor: trustAnchor, crypto},
	stateful: true,
	wokenBySessionsOnly: true,
	config: z.strictObject({
		/** Where there is no container yet, create one like this. */
		create: z.array(ContainerDimensions).max(1).optional(),
		/** Bytes per second that a rekeying may go through, e.g. 20M; as many as it can where it is left out. */
		rekeying_rate: byteSize().optional(),
		/** Blocks that a key of an authenticated cipher seals before a rekeying begins by itself. */
		rekey_after: z.coerce
			.number()
			.int()
			.min(1)
			.max(sealedBlockCountMax / 2)
			.default(sealedBlockCountMax / 2),
		/**
		 * `yes`: a rekeying of the original whose old key is lost is ended; blocks under it stay unreadable until they
		 * are written.
		 */
		give_up_lost_blocks: z.enum(['yes', 'no']).default('no'),
	}),
	async start({config, sessions, env}) {
		const deviceConfig = {
			create: config.create?.[0],
			rekeyingRate: config.rekeying_rate,
			rekeyAfter: config.rekey_after,
			givesUpLostBlocks: config.give_up_lost_blocks === 'yes',
		};
		const keys = new CryptoKeys(sessions);
		const access = new DeviceAccess({
			anchor: sessions.trust_anchor,
			keys,
			env,
			open: async () => openDevice({servers: sessions, env, config: deviceConfig, keys}),
		});
		await access.begin();
		return {
			provides: {block: blockService(access), device_control: controlService(access, sessions.trust_anchor)},
			interrupted: {
				// It has forgotten its keys; requests to it wait until it has them again.
				crypto: async () => keys.giveAgain(),
				trust_anchor: async () => access.followAnchor(),
			},
			stop: async () => access.stop(),
			status: () => ({locked: access.isLocked ? 'yes' : 'no', ...access.device?.report()}),
		};
	},
});
