/** Bytes at any offset and of any length, on a device of whole blocks. */
import type {Environment} from '../../../runtime/sdk/component.js';
import {blockSize} from '../../sessions/block.js';
import {allEnded} from '../sync/all-ended.js';
import {AllocationRuns} from '../format/allocation-runs.js';
import {allocationKinds} from '../../sessions/allocation.js';
import {divide, isWholeBlocks, type ByteRange, type PartialBlock} from './byte-range.js';
import {lockWatch} from '../sync/lock-order.js';
import {RangeLock} from '../sync/range-lock.js';
import {ResourcePool} from '../sync/resource-pool.js';

/** The blocks under a byte device; snapshots are read alone. */
export interface BlockAccess {
	read(request: {extents: number[]; data: Uint8Array}): Promise<unknown>;
	allocation?(request: {first: number; count: number}): Promise<{runs: number[]}>;
	write?(request: {extents: number[]; data: Uint8Array}): Promise<unknown>;
	clear?(request: {extents: number[]}): Promise<unknown>;
	sync?(): Promise<unknown>;
}

/** Blocks that are made zero with one request: 4 GiB. It moves no data, and costs what has content. */
const zeroedBlockCountMax = 2 ** 20;

/** Blocks at the ends of a range that it covers in part. */
const partialBlockCountMax = 2;

/** Requests of one front end that read or read-modify-write partial blocks at the same time. */
const partialRequestCountMax = 32;

/**
 * Memory for blocks that are covered in part. It is set aside at the start, because a request that holds its payload
 * must not wait for memory that another such request holds.
 */
export class PartialBlockBuffers {
	/** What one of these takes of the component's memory, in bytes. */
	static readonly byteLength = partialRequestCountMax * partialBlockCountMax * blockSize;
	readonly #pool: ResourcePool<Buffer>;

	constructor(env: Environment) {
		const size = partialBlockCountMax * blockSize;
		const {bytes} = env.lease(partialRequestCountMax * size);
		this.#pool = new ResourcePool(
			Array.from({length: partialRequestCountMax}, (_, i) => bytes.subarray(i * size, (i + 1) * size)),
		);
	}

	async use<T>(job: (buffer: Buffer) => Promise<T>): Promise<T> {
		return this.#pool.use(job);
	}
}

function extentsOfPartial(partial: readonly PartialBlock[]): number[] {
	return partial.flatMap(({block}) => [block, 1]);
}

export class ByteDevice {
	readonly #access: BlockAccess;
	readonly #buffers: PartialBlockBuffers;
	readonly #lock = new RangeLock();

	constructor(access: BlockAccess, buffers: PartialBlockBuffers) {
		this.#access = access;
		this.#buffers = buffers;
	}

	async sync(): Promise<void> {
		await this.#access.sync?.();
	}

	async read(offset: number, data: Buffer): Promise<void> {
		if (isWholeBlocks(offset, data.length)) {
			await this.#access.read({extents: [offset / blockSize, data.length / blockSize], data});
			return;
		}

		const range = divide(offset, data.length);
		await this.#buffers.use(async buffer => {
			const blocks = buffer.subarray(0, range.partial.length * blockSize);
			await allEnded([
				this.#access.read({extents: extentsOfPartial(range.partial), data: blocks}),
				this.#whole('read', range, data),
			]);
			for (const [i, {start, offset: target, length}] of range.partial.entries()) {
				blocks.copy(data, target, i * blockSize + start, i * blockSize + start + length);
			}
		});
	}

	/**
	 * What is known of `length` > 0 bytes at `offset` without reading them: pairs of a number of bytes and their kind,
	 * for as much of the range as could be told at once, and at least for its first byte.
	 */
	async allocation(offset: number, length: number): Promise<number[]> {
		if (!this.#access.allocation) {
			return [length, allocationKinds.data];
		}

		const first = Math.floor(offset / blockSize);
		const {runs} = await this.#access.allocation({first, count: Math.ceil((offset + length) / blockSize) - first});
		const found = new AllocationRuns();
		let start = first * blockSize;
		for (let i = 0; i < runs.length; i += 2) {
			const end = start + runs[i] * blockSize;
			found.add(Math.min(end, offset + length) - Math.max(start, offset), runs[i + 1]);
			start = end;
		}

		return found.pairs;
	}

	async write(offset: number, data: Buffer): Promise<void> {
		const whole = isWholeBlocks(offset, data.length);
		const held = this.#lock.take(
			Math.floor(offset / blockSize),
			Math.ceil((offset + data.length) / blockSize),
			!whole,
		);
		try {
			if (held.waitCount > 0) {
				await this.#lock.ready(held);
			}

			await (lockWatch
				? lockWatch.holding('byte range', async () => this.#writeLocked(offset, data, whole))
				: this.#writeLocked(offset, data, whole));
		} finally {
			this.#lock.release(held);
		}
	}

	/**
	 * Makes `length` > 0 bytes read as zeroes; the room of whole blocks may be given back. In pieces, first to last.
	 */
	async zero(offset: number, length: number): Promise<void> {
		const pieceLength = zeroedBlockCountMax * blockSize;
		for (let start = offset; start < offset + length;) {
			const end = Math.min(offset + length, (Math.floor(start / pieceLength) + 1) * pieceLength);
			await this.#zeroPiece(start, end - start);
			start = end;
		}
	}

	async #zeroPiece(offset: number, length: number): Promise<void> {
		const {partial, whole} = divide(offset, length);
		if (whole.count > 0) {
			const held = this.#lock.take(whole.first, whole.first + whole.count, false);
			try {
				await this.#lock.ready(held);
				await this.#access.clear!({extents: [whole.first, whole.count]});
			} finally {
				this.#lock.release(held);
			}
		}

		for (const {offset: start, length: partLength} of partial) {
			await this.write(offset + start, Buffer.alloc(partLength));
		}
	}

	#writeLocked(offset: number, data: Buffer, whole: boolean): Promise<unknown> {
		return whole
			? this.#access.write!({extents: [offset / blockSize, data.length / blockSize], data})
			: this.#writePartial(divide(offset, data.length), data);
	}

	async #writePartial(range: ByteRange, data: Buffer): Promise<void> {
		await this.#buffers.use(async buffer => {
			const blocks = buffer.subarray(0, range.partial.length * blockSize);
			const extents = extentsOfPartial(range.partial);
			await this.#access.read({extents, data: blocks});
			for (const [i, {start, offset, length}] of range.partial.entries()) {
				data.copy(blocks, i * blockSize + start, offset, offset + length);
			}

			await allEnded([this.#access.write!({extents, data: blocks}), this.#whole('write', range, data)]);
		});
	}

	async #whole(operation: 'read' | 'write', {whole}: ByteRange, data: Buffer): Promise<void> {
		if (whole.count > 0) {
			const part = data.subarray(whole.offset, whole.offset + whole.count * blockSize);
			await this.#access[operation]!({extents: [whole.first, whole.count], data: part});
		}
	}
}
