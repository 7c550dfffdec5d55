/** The server of a `cache` session with all blocks in memory, and a log of what it was asked for. */
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {blockSize, nodeSize} from '../../components/lib/format/geometry.js';
import {labelLength, labelOf} from '../../components/lib/format/label.js';
import type {cache} from '../../components/sessions/cache.js';

/** Where the hash stands in a node (format section 2). */
const hashOffset = 16;

export class MemoryCache {
	readonly frameCount: number;
	readonly memory: Buffer;
	/** What lies on the medium. */
	readonly blocks = new Map<number, Buffer>();
	/** Addresses of each load and store, in order. */
	readonly loads: number[][] = [];
	readonly stores: number[][] = [];
	/** Called before each load and store is carried out. */
	before: (operation: 'load' | 'store', addresses: readonly number[]) => Promise<void> | void = () => undefined;

	constructor(frameCount: number) {
		this.frameCount = frameCount;
		this.memory = Buffer.alloc(frameCount * blockSize);
	}

	/** Puts a block on the medium and returns its label. */
	put(address: number, block: Uint8Array): Buffer {
		this.blocks.set(address, Buffer.from(block));
		return labelOf(block);
	}

	readonly client: Client<typeof cache> = {
		attach: async () => ({memory: this.memory, frameCount: this.frameCount}),
		load: async ({frames, addresses, labels}) => {
			this.loads.push([...addresses]);
			await this.before('load', addresses);
			const mismatched: number[] = [];
			for (const [i, address] of addresses.entries()) {
				const block = this.blocks.get(address) ?? Buffer.alloc(blockSize);
				const matches = labelOf(block).equals(labels.subarray(i * labelLength, (i + 1) * labelLength));
				this.memory.set(matches ? block : Buffer.alloc(blockSize), frames[i] * blockSize);
				if (!matches) {
					mismatched.push(i);
				}
			}

			return {mismatched};
		},
		verify: async ({addresses, labels}) => {
			const matches = (address: number, i: number) =>
				labelOf(this.blocks.get(address) ?? Buffer.alloc(blockSize)).equals(
					labels.subarray(i * labelLength, (i + 1) * labelLength),
				);
			return {mismatched: addresses.flatMap((address, i) => (matches(address, i) ? [] : i))};
		},
		store: async ({frames, addresses, places}) => {
			this.stores.push([...addresses]);
			await this.before('store', addresses);
			const labels = new Uint8Array(frames.length * labelLength);
			for (const [i, frame] of frames.entries()) {
				const label = this.put(addresses[i], this.memory.subarray(frame * blockSize, (frame + 1) * blockSize));
				labels.set(label, i * labelLength);
				for (let at = 0; at < places.length; at += 2) {
					if (places[at] === i) {
						this.memory.set(label, places[at + 1] * nodeSize + hashOffset);
					}
				}
			}

			return {labels};
		},
	};

	/** From now on every store fails. */
	failStores(): void {
		this.before = operation => {
			if (operation === 'store') {
				throw new SessionError('device_failed', 'the medium failed');
			}
		};
	}
}
