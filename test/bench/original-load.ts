/**
 * The load of the original's own benchmark (its tester's step 12): every one of 25,600 leaves written once in order by
 * requests of one block, then read once in order, in process and from memory.
 */
import {blockSize, type block} from '../../components/sessions/block.js';
import type {Client} from '../../runtime/sdk/session.js';
import {LocalDevice, type LocalDeviceOptions} from './local-device.js';
import type {MeasuredCipher} from './measured-cipher.js';

export const leafCount = 25_600;

/** What the original did on the same kind of machine, in MiB/s. */
export const originalSpeeds = {write: {min: 70, max: 97}, read: {min: 108, max: 207}} as const;

/** Requests under way at once; the original's request pool takes several, too. */
export const depths = [1, 32] as const;

const mebibyte = 2 ** 20;

export interface OriginalLoadResult {
	readonly cipher: MeasuredCipher;
	readonly depth: number;
	/** MiB per second. */
	readonly write: number;
	readonly read: number;
}

/** Calls `job` for 0 to `count - 1`, with `depth` of them under way. */
async function eachAtDepth(
	count: number,
	depth: number,
	job: (index: number, lane: number) => Promise<unknown>,
): Promise<void> {
	let next = 0;
	const lane = async (number: number) => {
		while (next < count) {
			await job(next++, number);
		}
	};

	await Promise.all(Array.from({length: depth}, async (_, number) => lane(number)));
}

async function mebibytesPerSecond(load: () => Promise<unknown>): Promise<number> {
	const startedMs = performance.now();
	await load();
	return (leafCount * blockSize) / mebibyte / ((performance.now() - startedMs) / 1000);
}

/** One pass over the device. Flushed at the end, in the time of the writes. */
export async function runOriginalLoad(
	device: Client<typeof block>,
	depth: number,
): Promise<Omit<OriginalLoadResult, 'cipher'>> {
	const buffers = Array.from({length: depth}, (_, lane) => Buffer.alloc(blockSize, lane + 1));
	const write = await mebibytesPerSecond(async () => {
		await eachAtDepth(leafCount, depth, async (vba, lane) =>
			device.write({extents: [vba, 1], data: buffers[lane]}),
		);
		await device.sync({});
	});
	const read = await mebibytesPerSecond(async () =>
		eachAtDepth(leafCount, depth, async (vba, lane) => device.read({extents: [vba, 1], data: buffers[lane]})),
	);
	return {depth, write, read};
}

/** A device as large as the load, with the spare blocks of the default assembly. */
export async function makeOriginalDevice(
	stateDirectory: string,
	{cipher = 'aes-256-xts', ...options}: LocalDeviceOptions & {readonly cipher?: MeasuredCipher} = {},
): Promise<LocalDevice> {
	return LocalDevice.create(
		{
			vbd_leaves: String(leafCount),
			vbd_max_level: '3',
			vbd_degree: '64',
			ft_leaves: '32768',
			ft_max_level: '3',
			ft_degree: '64',
			cipher,
		},
		stateDirectory,
		options,
	);
}
