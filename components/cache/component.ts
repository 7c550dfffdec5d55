/**
 * cache: inner blocks of the trees in memory shared with its clients.
 *
 * Guarantee: a frame that `load` did not report as mismatched holds exactly the block whose label the client gave.
 */
import {z} from 'zod';
import {StartError, defineComponent, optional} from '../../runtime/sdk/component.js';
import {SessionError, isSessionError, type Client} from '../../runtime/sdk/session.js';
import {extentsOf} from '../lib/format/extents.js';
import {blockSize} from '../lib/format/geometry.js';
import {openInner, sealInner} from '../lib/container/inner-blocks.js';
import {labelLength, labelOf} from '../lib/format/label.js';
import {byteSize} from '../lib/format/size-config.js';
import {Mutex} from '../lib/sync/mutex.js';
import {block} from '../sessions/block.js';
import {cache} from '../sessions/cache.js';
import {crypto} from '../sessions/crypto.js';
import {independentRuns, labelInOrder, nodesFit, placeLabels} from './frame-labels.js';
import {SharedFrames} from './shared-frames.js';

/** What the frames of all clients may take of the memory, in bytes. */
function roomLength(leaseLimit: number): number {
	return leaseLimit - transferBlockCount * blockSize;
}

/** Why that size is too large for the memory; undefined where it is not. */
function sizeFault(size: number, leaseLimit: number): string | undefined {
	const room = roomLength(leaseLimit);
	return size > room
		? `size="${Math.ceil(size / 2 ** 20)}M" does not fit its RAM quantum, which leaves ${Math.max(0, Math.floor(room / 2 ** 20))} MiB for it`
		: undefined;
}

const sizeRemedy = 'make the size smaller or the quantum larger';

/** Blocks per request to the medium: 1 MiB. */
const transferBlockCount = 256;

export default defineComponent({
	provides: {cache},
	// For containers whose inner blocks are encrypted on the medium.
	requires: {block, crypto: optional(crypto)},
	stateful: true,
	wokenBySessionsOnly: true,
	config: z.strictObject({
		/** Memory for all clients together, e.g. 48M. */
		size: byteSize().default(48 * 2 ** 20),
	}),
	obstacles({size}, {leaseLimit}) {
		const what = sizeFault(size, leaseLimit);
		return what === undefined ? [] : [{at: ['size'], what, remedy: sizeRemedy}];
	},
	start({config, sessions, env}) {
		const fault = sizeFault(config.size, env.leaseLimit);
		if (fault !== undefined) {
			throw new StartError(`${fault}; ${sizeRemedy}`);
		}

		const clientCount = Math.max(1, env.clientCount('cache'));
		const frames = new SharedFrames(Math.floor(config.size / blockSize), clientCount, env);
		const transfer = env.lease(transferBlockCount * blockSize);
		// The transfer buffer serves one request at a time.
		const transferMutex = new Mutex('cache transfer');
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

		/** Does what the crypto server has to do; the errors of the session are the medium's. */
		async function onCrypto<T>(job: (server: Client<typeof crypto>) => Promise<T>): Promise<T> {
			if (!sessions.crypto) {
				throw new SessionError(
					'device_failed',
					`the container's inner blocks are encrypted: route the service "crypto" of "${env.name}" to a crypto server`,
				);
			}

			try {
				return await job(sessions.crypto);
			} catch (error) {
				throw isSessionError(error) ? new SessionError('device_failed', error.message) : error;
			}
		}

		/**
		 * Which of the blocks just read into the transfer buffer do not match their labels; the others are decrypted
		 * where they are.
		 */
		async function openedMismatches(
			addresses: readonly number[],
			labels: Uint8Array,
			blocks: Uint8Array,
		): Promise<ReadonlySet<number>> {
			return new Set(await onCrypto(async server => openInner(server, addresses, {labels, blocks})));
		}

		/** By address, so that neighbours on the medium are written together. */
		function inOrder(first: number, end: number, addresses: readonly number[]): number[] {
			return Array.from({length: end - first}, (_, i) => first + i).sort((a, b) => addresses[a] - addresses[b]);
		}

		/**
		 * Writes the frames with these indexes, many at a time; `seal` encrypts what is in the transfer buffer. Without
		 * it the labels have been made before.
		 */
		async function write(
			order: readonly number[],
			frameSource: {memory: Uint8Array; sources: readonly number[]; addresses: readonly number[]},
			seal?: (part: readonly number[], data: Uint8Array) => Promise<void>,
		): Promise<void> {
			const {memory, sources, addresses} = frameSource;
			for (let first = 0; first < order.length; first += transferBlockCount) {
				const part = order.slice(first, first + transferBlockCount);
				await transferMutex.run(async () => {
					const data = transfer.bytes.subarray(0, part.length * blockSize);
					for (const [i, index] of part.entries()) {
						const source = sources[index] * blockSize;
						data.set(memory.subarray(source, source + blockSize), i * blockSize);
					}

					await seal?.(part, data);
					await onMedium(async () =>
						sessions.block.write({extents: extentsOf(part.map(index => addresses[index])), data}),
					);
				});
			}
		}

		/** Level by level: a block can be encrypted once the labels of all below it stand in it. */
		async function writeEncrypted(
			frameSource: {memory: Uint8Array; sources: readonly number[]; addresses: readonly number[]},
			places: readonly number[],
		): Promise<Uint8Array> {
			const {memory, sources, addresses} = frameSource;
			const labels = new Uint8Array(sources.length * labelLength);
			for (const [first, end] of independentRuns(sources, places)) {
				await write(inOrder(first, end, addresses), frameSource, async (part, data) => {
					const made = await onCrypto(async server =>
						sealInner(
							server,
							part.map(index => addresses[index]),
							data,
						),
					);
					for (const [i, index] of part.entries()) {
						labels.set(made.subarray(i * labelLength, (i + 1) * labelLength), index * labelLength);
					}
				});
				placeLabels(memory, {first, end}, {labels, places});
			}

			return labels;
		}

		return {
			provides: {
				cache: {
					attach: ({frameCountMax}, {session}) => frames.attach(session, frameCountMax),
					async load({frames: targets, addresses, labels, encrypted}, {session}) {
						const memory = frames.checked(session, targets);
						const mismatched: number[] = [];
						for (let first = 0; first < targets.length; first += transferBlockCount) {
							const part = addresses.slice(first, first + transferBlockCount);
							await transferMutex.run(async () => {
								const data = transfer.bytes.subarray(0, part.length * blockSize);
								await onMedium(async () => sessions.block.read({extents: extentsOf(part), data}));
								const opened =
									encrypted &&
									(await openedMismatches(
										part,
										labels.subarray(first * labelLength, (first + part.length) * labelLength),
										data,
									));
								for (let i = 0; i < part.length; i++) {
									const content = data.subarray(i * blockSize, (i + 1) * blockSize);
									const target = targets[first + i] * blockSize;
									if (
										opened
											? !opened.has(i)
											: labelOf(content).equals(
													labels.subarray(
														(first + i) * labelLength,
														(first + i + 1) * labelLength,
													),
												)
									) {
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
						const mismatched: number[] = [];
						for (let first = 0; first < addresses.length; first += transferBlockCount) {
							const part = addresses.slice(first, first + transferBlockCount);
							await transferMutex.run(async () => {
								const data = transfer.bytes.subarray(0, part.length * blockSize);
								await onMedium(async () => sessions.block.read({extents: extentsOf(part), data}));
								for (let i = 0; i < part.length; i++) {
									const label = labelOf(data.subarray(i * blockSize, (i + 1) * blockSize));
									if (
										!label.equals(
											labels.subarray((first + i) * labelLength, (first + i + 1) * labelLength),
										)
									) {
										mismatched.push(first + i);
									}
								}
							});
						}

						return {mismatched};
					},
					async store({frames: sources, addresses, places, encrypted}, {session}) {
						const memory = frames.checked(session, sources);
						if (!nodesFit(places, frames.frameCountOf(session))) {
							throw new SessionError('out_of_range', "a request names nodes beyond the client's memory");
						}

						const frameSource = {memory, sources, addresses};
						if (encrypted) {
							const labels = await writeEncrypted(frameSource, places);
							storedCount += sources.length;
							return {labels};
						}

						const labels = labelInOrder(memory, sources, places);
						await write(inOrder(0, sources.length, addresses), frameSource);
						storedCount += sources.length;
						return {labels};
					},
				},
			},
			clientGone(_service, session) {
				frames.drop(session);
			},
			async stop() {
				await transferMutex.idle();
				transfer.release();
			},
			status: () => ({
				frames: frames.frameCount,
				frames_by_client: frames.counts.join('+'),
				loaded_blocks: loadedCount,
				stored_blocks: storedCount,
			}),
		};
	},
});
