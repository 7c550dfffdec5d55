/** A fresh container's pool trees behind a cache in memory. */
import {frameCountMin, HeldBlocks} from '../../components/lib/tree/held-blocks.js';
import {blockSize, type Dimensions} from '../../components/lib/format/geometry.js';
import {layOut} from '../../components/lib/format/initialize.js';
import type {Superblock} from '../../components/lib/format/superblock.js';
import {MemoryCache} from './memory-cache.js';

export interface PoolLayout {
	readonly server: MemoryCache;
	readonly held: HeldBlocks;
	readonly superblock: Superblock;
}

/** Lays out a container whose pool has these dimensions. */
export async function layOutPool(freeTree: Dimensions): Promise<PoolLayout> {
	const server = new MemoryCache(frameCountMin);
	const plan = {
		virtualBlockDevice: {leafCount: 4, maxLevel: 1, degree: 4},
		freeTree,
		cipher: 'aes-256-cbc-essiv',
		containerId: undefined,
		key: {wrapped: new Uint8Array(32), id: 1},
	} as const;
	const superblock = await layOut(plan, {
		async write(extents, data) {
			let offset = 0;
			for (let i = 0; i < extents.length; i += 2) {
				for (let address = extents[i]; address < extents[i] + extents[i + 1]; address++, offset += blockSize) {
					server.put(address, data.subarray(offset, offset + blockSize));
				}
			}
		},
	});
	return {server, held: await HeldBlocks.attach(server.client), superblock};
}
