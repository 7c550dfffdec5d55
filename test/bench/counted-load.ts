/** Loads of which messages and medium requests are counted: figures that do not depend on time. */
import {blockSize, type block} from '../../components/sessions/block.js';
import type {Client} from '../../runtime/sdk/session.js';
import {isMediumRoute, type LocalDevice} from './local-device.js';

export interface CountedLoad {
	readonly direction: 'read' | 'write';
	/** Blocks of one request. */
	readonly blockCount: number;
	readonly depth: number;
	readonly requestCount: number;
	/** `random` strides through the range in an order that never meets the next block. */
	readonly order: 'sequential' | 'random';
	/** A flush after every request, counted with it. */
	readonly flushes?: true;
}

export interface Counts {
	/** Messages between components, replies included, for each request; the client's own two are among them. */
	readonly messagesPerRequest: number;
	/** Separate pieces of the medium that were read or written for each MiB of the user's data. */
	readonly mediumExtentsPerMiB: number;
	/** Medium bytes for each of the user's bytes. */
	readonly amplification: number;
}

/** Blocks that loads go to, all written before. */
export const rangeBlockCount = 4096;
/** Odd, so that multiples of it reach every block of a range of 2^n. */
const stride = 1597;
const mebibyte = 2 ** 20;

function firstBlock({order, blockCount}: CountedLoad, index: number): number {
	const slotCount = rangeBlockCount / blockCount;
	return ((order === 'random' ? index * stride : index) % slotCount) * blockCount;
}

/** Runs a load to its end; nothing is counted or secured but what the load does. */
export async function runLoad(client: Client<typeof block>, load: CountedLoad): Promise<void> {
	let next = 0;
	const lane = async () => {
		const data = Buffer.alloc(load.blockCount * blockSize, 1);
		while (next < load.requestCount) {
			await client[load.direction]({extents: [firstBlock(load, next++), load.blockCount], data});
			if (load.flushes) {
				await client.sync({});
			}
		}
	};

	await Promise.all(Array.from({length: load.depth}, lane));
}

function countsOf({traffic}: LocalDevice, {requestCount, blockCount}: CountedLoad): Counts {
	let messageCount = 0;
	let extentCount = 0;
	let mediumByteLength = 0;
	for (const [route, counted] of traffic) {
		messageCount += counted.messageCount;
		if (isMediumRoute(route)) {
			extentCount += counted.extentCount;
			mediumByteLength += counted.byteLength;
		}
	}

	const byteLength = requestCount * blockCount * blockSize;
	return {
		messagesPerRequest: messageCount / requestCount,
		mediumExtentsPerMiB: extentCount / (byteLength / mebibyte),
		amplification: mediumByteLength / byteLength,
	};
}

/** Fills the range and secures it. */
export async function fillRange(device: LocalDevice): Promise<void> {
	const client = device.connect();
	await runLoad(client, {
		direction: 'write',
		blockCount: 256,
		depth: 1,
		requestCount: rangeBlockCount / 256,
		order: 'sequential',
	});
	await client.sync({});
}

/** Runs a load on a filled device and counts; writes are secured afterwards, outside of the count. */
export async function countLoad(device: LocalDevice, load: CountedLoad): Promise<Counts> {
	const client = device.connect();
	device.forgetTraffic();
	await runLoad(client, load);
	const counts = countsOf(device, load);
	await client.sync({});
	return counts;
}
