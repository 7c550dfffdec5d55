/**
 * cache: inner blocks of the trees in memory shared with its clients.
 *
 * Guarantee: a frame that `load` did not report as mismatched holds exactly the block whose label the client gave.
 */
import {z} from 'zod';
import {defineComponent} from '../../runtime/sdk/component.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {extentsOf} from '../container/extents.js';
import {blockSize} from '../container/geometry.js';
import {labelLength, labelOf} from '../container/label.js';
import {byteSize} from '../container/size-config.js';
import {Turn} from '../container/turn.js';
import {block} from '../sessions/block.js';
import {cache} from '../sessions/cache.js';
import {labelInOrder, placesFit} from './frame-labels.js';
import {SharedFrames} from './shared-frames.js';

/** Blocks per request to the medium: 1 MiB. */
const transferBlockCount = 256;

export default defineComponent({
	provides: {cache},
	requires: {block},
	stateful: true,
	config: z.strictObject({
		/** Memory for all clients together, e.g. 48M. */
		size: byteSize().default(48 * 2 ** 20),
	}),
	start({config, sessions, env}) {
		const clientCount = Math.max(1, env.clientCount('cache'));
		const frameCount = Math.floor(config.size / blockSize / clientCount);
		const frames = new SharedFrames(frameCount, env);
		const transfer = env.lease(transferBlockCount * blockSize);
		// The transfer buffer serves one request at a time.
		const transferTurn = new Turn();
		let loadedCount = 0;
		let storedCount = 0;

		async function onMedium(job: () => Promise<unknown>): Promise<void> {
			try {
				await job();
			} catch (error) {
				if (error instanceof SessionError && error.code === 'no_space') {
					throw error;
				}

				throw new SessionError('device_failed', error instanceof Error ? error.message : String(error));
			}
		}

		return {
			provides: {
				cache: {
					attach: (_request, {session}) => ({memory: frames.of(session), frameCount}),
					async load({frames: targets, addresses, labels}, {session}) {
						const memory = frames.checked(session, targets, addresses);
						const mismatched: number[] = [];
						for (let first = 0; first < targets.length; first += transferBlockCount) {
							const part = addresses.slice(first, first + transferBlockCount);
							await transferTurn.take(async () => {
								const data = transfer.bytes.subarray(0, part.length * blockSize);
								await onMedium(async () => sessions.block.read({extents: extentsOf(part), data}));
								for (let i = 0; i < part.length; i++) {
									const content = data.subarray(i * blockSize, (i + 1) * blockSize);
									const target = targets[first + i] * blockSize;
									const label = labelOf(content);
									if (label.equals(labels.subarray((first + i) * label.length, (first + i + 1) * label.length))) {
										memory.set(content, target);
									} else {
										memory.fill(0, target, target + blockSize);
										mismatched.push(first + i);
									}
								}
							});
						}

						loadedCount += targets.length;
						return {mismatched};
					},
					async verify({addresses, labels}) {
						if (labels.length !== addresses.length * labelLength) {
							throw new SessionError('out_of_range', `${addresses.length} blocks do not have ${labels.length} bytes of labels`);
						}

						const mismatched: number[] = [];
						for (let first = 0; first < addresses.length; first += transferBlockCount) {
							const part = addresses.slice(first, first + transferBlockCount);
							await transferTurn.take(async () => {
								const data = transfer.bytes.subarray(0, part.length * blockSize);
								await onMedium(async () => sessions.block.read({extents: extentsOf(part), data}));
								for (let i = 0; i < part.length; i++) {
									const label = labelOf(data.subarray(i * blockSize, (i + 1) * blockSize));
									if (!label.equals(labels.subarray((first + i) * labelLength, (first + i + 1) * labelLength))) {
										mismatched.push(first + i);
									}
								}
							});
						}

						return {mismatched};
					},
					async store({frames: sources, addresses, places}, {session}) {
						const memory = frames.checked(session, sources, addresses);
						if (!placesFit(places, sources.length, frameCount)) {
							throw new SessionError('out_of_range', 'a request names nodes beyond the client\'s memory, or places out of order');
						}

						const labels = labelInOrder(memory, sources, places);
						// By address, so that neighbours on the medium are written together.
						const order = [...sources.keys()].sort((a, b) => addresses[a] - addresses[b]);
						for (let first = 0; first < order.length; first += transferBlockCount) {
							const part = order.slice(first, first + transferBlockCount);
							await transferTurn.take(async () => {
								const data = transfer.bytes.subarray(0, part.length * blockSize);
								for (const [i, index] of part.entries()) {
									const source = sources[index] * blockSize;
									data.set(memory.subarray(source, source + blockSize), i * blockSize);
								}

								await onMedium(async () => sessions.block.write({extents: extentsOf(part.map(index => addresses[index])), data}));
							});
						}

						storedCount += sources.length;
						return {labels};
					},
				},
			},
			clientGone(_service, session) {
				frames.drop(session);
			},
			async stop() {
				await transferTurn.idle();
				transfer.release();
			},
			status: () => ({frames: frameCount * clientCount, loaded_blocks: loadedCount, stored_blocks: storedCount}),
		};
	},
});
