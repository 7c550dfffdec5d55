/**
 * superblock_control: the finished device. Opens the container, keeps generations and snapshots, and secures the state.
 *
 * Guarantee: what was acknowledged before an acknowledged `sync` survives every crash; a state that the trust anchor
 * does not know is never opened; while the device is locked no request is served, and no server here holds a key.
 */
import {z} from 'zod';
import {defineComponent, StartError} from '../../runtime/sdk/component.js';
import {isSessionError, SessionError} from '../../runtime/sdk/session.js';
import {ContainerDimensions} from '../container/dimensions-config.js';
import {byteSize} from '../container/size-config.js';
import {Turn} from '../container/turn.js';
import {block} from '../sessions/block.js';
import {crypto} from '../sessions/crypto.js';
import {deviceControl} from '../sessions/device-control.js';
import {freeTree} from '../sessions/free-tree.js';
import {trustAnchor} from '../sessions/trust-anchor.js';
import {virtualBlockDevice} from '../sessions/virtual-block-device.js';
import {DeviceLock, lockedError} from './device-lock.js';
import {sealedBlockCountMax} from './key-use.js';
import {openDevice, type OpenDevice} from './open-device.js';

/** What is known of a device that has been locked since its start. */
const unknownStatus = {
	locked: true, state: 'unknown', blockCount: 0, currentGeneration: 0, lastSecuredGeneration: 0, cipher: 'unknown',
	poolLeafCount: 0, poolAllocatableCount: 0, poolHeldCount: 0,
} as const;

const idleOperation = {phase: 'idle', lastResult: 'none', done: 0, total: 0, bytesPerSecond: 0} as const;

export default defineComponent({
	provides: {block, device_control: deviceControl},
	requires: {virtual_block_device: virtualBlockDevice, free_tree: freeTree, block, trust_anchor: trustAnchor, crypto},
	stateful: true,
	config: z.strictObject({
		/** Where there is no container yet, create one like this. */
		create: z.array(ContainerDimensions).max(1).optional(),
		/** Bytes per second that a rekeying may go through, e.g. 20M; as many as it can where it is left out. */
		rekeying_rate: byteSize().optional(),
		/** Blocks that a key of an authenticated cipher seals before a rekeying begins by itself. */
		rekey_after: z.coerce.number().int().min(1).max(sealedBlockCountMax / 2).default(sealedBlockCountMax / 2),
		/** `yes`: a rekeying of the original whose old key is lost is ended; blocks under it stay unreadable until they are written. */
		give_up_lost_blocks: z.enum(['yes', 'no']).default('no'),
	}),
	async start({config, sessions, env}) {
		const open = async () => openDevice(sessions, env, {create: config.create?.[0], rekeyingRate: config.rekeying_rate, rekeyAfter: config.rekey_after, givesUpLostBlocks: config.give_up_lost_blocks === 'yes'});
		const anchor = sessions.trust_anchor;
		const lock = new DeviceLock();
		/** Locking and unlocking, one after the other. */
		const switching = new Turn();
		/** The last locking. */
		let locking: Promise<void> | undefined;
		/** False while keys are there, also where locking has stopped half-way: then the device refuses requests all the same. */
		let areKeysGone = false;
		const isAnchorLocked = async () => (await anchor.access({})).state === 'locked';

		/** Undefined where the device has been locked since its start. */
		let device: OpenDevice | undefined;
		if (await isAnchorLocked()) {
			await lock.close();
			areKeysGone = true;
			env.log('the device is locked: "runtime unlock" asks for the passphrase and serves it', 'warning');
		} else {
			device = await open();
		}

		/** The device, locked or not, for what needs no key. */
		function known(): OpenDevice {
			if (!device) {
				throw lockedError();
			}

			return device;
		}

		/** Runs a request of the unlocked device; locking waits for it. */
		async function pass<T>(request: (device: OpenDevice) => Promise<T> | T): Promise<T> {
			lock.enter();
			try {
				return await request(known());
			} finally {
				lock.leave();
			}
		}

		async function lockDevice(): Promise<void> {
			if (areKeysGone) {
				return;
			}

			await lock.close();
			await known().suspend({secure: true});
			await anchor.lock({});
			areKeysGone = true;
			env.log('locked: everything is secured, and the keys are forgotten');
		}

		async function openLocked(): Promise<void> {
			if (device) {
				await device.resume();
				return;
			}

			try {
				device = await open();
			} catch (error) {
				if (!(error instanceof StartError)) {
					throw error;
				}

				await anchor.lock({});
				throw new SessionError('device_failed', error.message);
			}
		}

		async function unlockDevice(sealed: string | undefined): Promise<void> {
			if (!lock.isClosed) {
				return;
			}

			try {
				await anchor.unlock({sealed});
			} catch (error) {
				throw isSessionError(error) && error.code !== 'wrong_passphrase' && error.code !== 'locked' ? new SessionError('refused', error.message) : error;
			}

			await openLocked();
			areKeysGone = false;
			lock.open();
			env.log('unlocked');
		}

		/** A trust anchor that was restarted may have come back without its keys. */
		async function followAnchor(): Promise<void> {
			if (areKeysGone || !await isAnchorLocked()) {
				return;
			}

			env.log('the trust anchor was restarted and is locked, so the device is, too; "runtime unlock" goes on', 'warning');
			await lock.close();
			await known().suspend({secure: false});
			areKeysGone = true;
		}

		return {
			provides: {
				block: {
					geometry: (...call) => known().block.geometry(...call),
					// Not `async`: a promise that is handed through one more arrives later.
					read: (...call) => pass(opened => opened.block.read(...call)),
					allocation: async (...call) => pass(opened => opened.block.allocation(...call)),
					write: (...call) => pass(opened => opened.block.write(...call)),
					clear: async (...call) => pass(opened => opened.block.clear(...call)),
					async sync(...call) {
						// Locking has secured everything; only what a lost trust anchor left behind waits.
						return lock.isClosed && device?.isDue === false ? {} : pass(opened => opened.block.sync(...call));
					},
					allocate: async (...call) => pass(opened => opened.block.allocate(...call)),
					grow: (...call) => known().block.grow(...call),
				},
				device_control: {
					status: async (...call) => device ? {...await device.control.status(...call), locked: lock.isClosed} : unknownStatus,
					list_snapshots: (...call) => known().control.list_snapshots(...call),
					measure_snapshots: async (...call) => pass(opened => opened.control.measure_snapshots(...call)),
					create_snapshot: async (...call) => pass(opened => opened.control.create_snapshot(...call)),
					discard_snapshot: async (...call) => pass(opened => opened.control.discard_snapshot(...call)),
					revert_snapshot: async (...call) => pass(opened => opened.control.revert_snapshot(...call)),
					extend: async (...call) => pass(opened => opened.control.extend(...call)),
					rekey: async (...call) => pass(opened => opened.control.rekey(...call)),
					check: async (...call) => pass(opened => opened.control.check(...call)),
					operations: (...call) => device ? device.control.operations(...call) : {extend: idleOperation, rekey: idleOperation, check: idleOperation},
					async lock() {
						locking = switching.take(lockDevice);
						await locking;
						return {};
					},
					recipient: async () => anchor.recipient({}),
					unlock: async ({sealed}) => switching.take(async () => {
						await unlockDevice(sealed);
						return {};
					}),
					pause: (...call) => known().control.pause(...call),
					resume: (...call) => known().control.resume(...call),
					snapshot_allocation: async (...call) => pass(opened => opened.control.snapshot_allocation(...call)),
					read_snapshot: async (...call) => pass(opened => opened.control.read_snapshot(...call)),
				},
			},
			interrupted: {
				async crypto() {
					// A crypto server that came back has forgotten its keys; requests to it wait until it has them again.
					if (!lock.isClosed) {
						await known().giveKeys();
					}
				},
				trust_anchor: async () => switching.take(followAnchor),
			},
			async stop() {
				// One that failed has told its client.
				await locking?.catch(() => undefined);
				if (!areKeysGone) {
					await known().suspend({secure: true});
				} else if (device?.isDue) {
					env.log('what was written since the last flush is lost: the trust anchor has no keys to secure it with', 'error');
				}
			},
			status: () => ({locked: lock.isClosed ? 'yes' : 'no', ...device?.status()}),
		};
	},
});
