/** A medium in memory with a `block` session, and a log of what was done to it. */
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import {AllocationRuns} from '../../components/lib/format/allocation-runs.js';
import {allocationKinds} from '../../components/sessions/allocation.js';
import {writeDurably} from '../../components/lib/format/durable-write.js';
import {type block, blockSize} from '../../components/sessions/block.js';

export interface MemoryMediumOptions {
	readonly growable?: boolean;
	readonly writable?: boolean;
}

export class MemoryMedium {
	/** The content; tests change bytes here to damage it. */
	image: Buffer;
	/** Called before each operation; throws to make it fail. */
	before: (
		operation: 'allocation' | 'read' | 'write' | 'clear' | 'allocate' | 'sync' | 'grow',
		extents: readonly number[],
	) => void = () => undefined;
	readonly #growable: boolean;
	readonly #writable: boolean;

	constructor(image: Buffer, {growable = false, writable = true}: MemoryMediumOptions = {}) {
		this.image = image;
		this.#growable = growable;
		this.#writable = writable;
	}

	get handlers(): Handlers<typeof block> {
		return {
			geometry: () => ({
				blockCount: Math.floor(this.image.length / blockSize),
				writable: this.#writable,
				growable: this.#growable,
			}),
			read: ({extents, data}) => {
				this.before('read', extents);
				this.#each(
					extents,
					(offset, from, length) => void this.image.copy(data, from, offset, offset + length),
				);
				return {};
			},
			// Blocks of zeroes are holes.
			allocation: ({first, count}) => {
				this.before('allocation', [first, count]);
				const runs = new AllocationRuns();
				for (let index = first; index < first + count && !runs.isFull; index++) {
					const content = this.image.subarray(index * blockSize, (index + 1) * blockSize);
					runs.add(1, content.every(byte => byte === 0) ? allocationKinds.hole : allocationKinds.data);
				}

				return {runs: runs.pairs};
			},
			write: ({extents, data, durable}) => {
				const write = () => {
					this.before('write', extents);
					this.#each(extents, (offset, from, length) =>
						this.image.set(data.subarray(from, from + length), offset),
					);
					return {};
				};
				return durable
					? writeDurably(write, () => {
							this.before('sync', []);
						})
					: write();
			},
			clear: ({extents}) => {
				this.before('clear', extents);
				this.#each(extents, (offset, _from, length) => this.image.fill(0, offset, offset + length));
				return {};
			},
			allocate: ({extents}) => {
				this.before('allocate', extents);
				return {};
			},
			sync: () => {
				this.before('sync', []);
				return {};
			},
			grow: ({blockCount}) => {
				this.before('grow', [0, blockCount]);
				this.image = Buffer.concat([
					this.image,
					Buffer.alloc(Math.max(0, blockCount * blockSize - this.image.length)),
				]);
				return {};
			},
		};
	}

	#each(extents: readonly number[], transfer: (offset: number, from: number, length: number) => void): void {
		let from = 0;
		for (let i = 0; i < extents.length; i += 2) {
			const offset = extents[i] * blockSize;
			const length = extents[i + 1] * blockSize;
			if (offset + length > this.image.length) {
				throw new SessionError(
					'out_of_range',
					`blocks ${extents[i]} to ${extents[i] + extents[i + 1] - 1} lie beyond the end`,
				);
			}

			transfer(offset, from, length);
			from += length;
		}
	}
}
