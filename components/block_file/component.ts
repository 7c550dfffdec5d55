/**
 * block_file: a file or block device of the host as a device of blocks; the only code that touches the image.
 *
 * Guarantee: once `sync` replies, every write that replied before it was sent is on the host's storage; after a failed
 * sync nothing claims that again.
 */
import {z} from 'zod';
import {StartError, defineComponent, type Environment, type Obstacle} from '../../runtime/sdk/component.js';
import {exists, whyUnmakable, whyUnreadable, whyUnwritable} from '../../runtime/sdk/host-path.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {requireBlocks} from '../lib/format/extents.js';
import {PathWatch} from '../lib/host/path-watch.js';
import {byteSize} from '../lib/format/size-config.js';
import {allocationKinds} from '../sessions/allocation.js';
import {writeDurably} from '../lib/format/durable-write.js';
import {block, blockSize} from '../sessions/block.js';
import {DirectUnknownError} from './direct-transfers.js';
import {isHostError} from './host-fault.js';
import {createImageFile, openImageFile, type ImageFile} from './image-file.js';
import {Image, type ImageOptions} from './image.js';

const config = z
	.strictObject({
		/** The image; relative paths lie in the state directory. */
		path: z.string().min(1),
		/** `yes`: an image that does not exist is made, and a file may grow. */
		create: z.enum(['yes', 'no']).default('no'),
		/** Size of an image made at start. Without it, nothing is made before the first `grow`. */
		size: byteSize().optional(),
		readonly: z.enum(['yes', 'no']).default('no'),
		/** `yes`: reads and writes go past the page cache of the host. */
		direct: z.enum(['yes', 'no']).default('no'),
		/** For clients that go by a label. */
		policy: z
			.array(z.strictObject({label: z.string().min(1), readonly: z.enum(['yes', 'no']).default('no')}))
			.default([]),
	})
	.refine(
		({create, readonly}) => create === 'no' || readonly === 'no',
		'create="yes" and readonly="yes" contradict each other; drop one',
	)
	.refine(
		({create, size}) => size === undefined || create === 'yes',
		'size is the size of an image to make; it needs create="yes"',
	);

/** As long the same failure is not logged again. */
const faultIntervalMs = 60_000;

type Config = z.output<typeof config>;

type Reply = Record<string, never> | Promise<Record<string, never>>;

function imageObstacles({create, readonly}: Config, imagePath: string, stateDirectory: string): Obstacle[] {
	if (exists(imagePath)) {
		const reason = readonly === 'yes' ? whyUnreadable(imagePath) : whyUnwritable(imagePath);
		return reason === undefined
			? []
			: [
					{
						at: ['path'],
						what: `the image ${imagePath} cannot be used: ${reason}`,
						remedy: 'correct the path, or give this user rights to it (or set readonly="yes")',
					},
				];
	}

	if (create === 'no') {
		return [
			{
				at: ['path'],
				what: `the image ${imagePath} does not exist`,
				remedy: 'correct the path, or set create="yes" to make a new one',
			},
		];
	}

	const reason = whyUnmakable(imagePath, stateDirectory);
	return reason === undefined
		? []
		: [
				{
					at: ['path'],
					what: `the image ${imagePath} cannot be made: ${reason}`,
					remedy: 'make the folder (mkdir -p) or give this user rights there, or correct the path',
				},
			];
}

function missingImage(imagePath: string, {create, size}: Config): ImageFile | undefined {
	if (create === 'no') {
		throw new StartError(
			`the image ${imagePath} does not exist; correct the path, or set create="yes" to make a new one`,
		);
	}

	try {
		return size === undefined ? undefined : createImageFile(imagePath, size);
	} catch (error) {
		throw isHostError(error) ? new StartError(`cannot make the image ${imagePath}: ${error.message}`) : error;
	}
}

function imageOf(file: ImageFile | undefined, options: ImageOptions): Image {
	try {
		return new Image(file, options);
	} catch (error) {
		throw error instanceof DirectUnknownError || isHostError(error)
			? new StartError(`cannot open ${options.path} with direct="yes": ${error.message}`)
			: error;
	}
}

function openImage(config: Config, env: Environment): Image {
	const imagePath = env.resolvePath(config.path);
	const writable = config.readonly === 'no';
	const file = openImageFile(imagePath, !writable) ?? missingImage(imagePath, config);
	const remainder = (file?.byteLength ?? 0) % blockSize;
	if (remainder > 0) {
		env.log(
			`the last ${remainder} bytes of ${imagePath} are no whole block of ${blockSize} bytes and are left alone`,
			'warning',
		);
	}

	const image = imageOf(file, {
		path: imagePath,
		writable,
		growable: writable && file?.kind !== 'device',
		direct: config.direct === 'yes',
		now: () => env.now(),
	});
	// Whoever confines the component makes the file for it, and a making may have been cut off: an empty one is not
	// there yet.
	if (config.size !== undefined && file?.byteLength === 0 && image.growable) {
		try {
			image.grow(Math.floor(config.size / blockSize));
		} catch (error) {
			throw error instanceof SessionError ? new StartError(error.message) : error;
		}
	}

	return image;
}

export default defineComponent({
	provides: {block},
	wokenBySessionsOnly: true,
	config,
	obstacles: (given, {resolvePath, stateDirectory}) => imageObstacles(given, resolvePath(given.path), stateDirectory),
	reach: ({path, create, readonly}) => ({
		files: [{path, writable: readonly === 'no', made: create === 'yes' ? 'file' : undefined}],
	}),
	start({config, env}) {
		const image = openImage(config, env);
		const watch = new PathWatch(image.path, env);
		const readers = new Set(config.policy.filter(({readonly}) => readonly === 'yes').map(({label}) => label));

		function requireWriter(client: string): void {
			if (readers.has(client)) {
				throw new SessionError('read_only', `${image.path} may only be read by "${client}"`);
			}
		}

		/** When each kind of failure was logged last. */
		const faults = new Map<string, number>();

		/**
		 * Every kind of failure is logged once in a while, wherever it happens; a client that keeps asking must not
		 * fill the log.
		 */
		function logged(error: unknown): unknown {
			if (error instanceof SessionError && error.code !== 'out_of_range') {
				const kind = error.message.replaceAll(/\d+/g, '');
				if (env.now() - (faults.get(kind) ?? -Infinity) >= faultIntervalMs) {
					faults.set(kind, env.now());
					env.log(error.message, 'error');
				}
			}

			return error;
		}

		/** What is done at once is answered at once. */
		function change(client: string, job: () => Promise<void> | undefined): Reply {
			requireWriter(client);
			return transfer(job);
		}

		function transfer(job: () => Promise<void> | undefined): Reply {
			try {
				const running = job();
				return running === undefined ? {} : ended(running);
			} catch (error) {
				throw logged(error);
			}
		}

		async function ended(running: Promise<void>): Promise<Record<string, never>> {
			try {
				await env.outside(running);
				return {};
			} catch (error) {
				throw logged(error);
			}
		}

		async function sync(): Promise<Record<string, never>> {
			try {
				await env.outside(image.sync());
				if (image.fd !== undefined) {
					watch.look(image.fd);
				}
			} catch (error) {
				throw logged(error);
			}

			return {};
		}

		return {
			provides: {
				block: {
					geometry(_request, {client}) {
						const isReader = readers.has(client);
						return {
							blockCount: image.blockCount,
							writable: image.writable && !isReader,
							growable: image.growable && !isReader,
						};
					},
					read: ({extents, data}) => transfer(() => image.read(extents, data)),
					// The host may know more, but zeroes that somebody wrote on purpose look the same to it.
					allocation({first, count}) {
						requireBlocks(first, count, image.blockCount, image.path);
						return {runs: [count, allocationKinds.data]};
					},
					write({extents, data, durable}, {client}) {
						const write = () => change(client, () => image.write(extents, data));
						return durable ? writeDurably(write, sync) : write();
					},
					clear: ({extents}, {client}) =>
						change(client, () => {
							image.clear(extents);
							return undefined;
						}),
					allocate: ({extents}, {client}) =>
						change(client, () => {
							image.allocate(extents);
							return undefined;
						}),
					sync,
					grow: ({blockCount}, {client}) =>
						change(client, () => {
							image.grow(blockCount);
							return undefined;
						}),
				},
			},
			stop: async () => image.close(),
			status: () => ({
				path: image.path,
				bytes: image.blockCount * blockSize,
				read_calls: image.readCallCount,
				disk_reads: image.diskReadCount,
			}),
		};
	},
});
