/**
 * Reads and writes past the page cache (O_DIRECT), for images that should not fill it. The disk moves the data itself,
 * to and from memory that is aligned to its blocks, which payload is not: so each piece is copied once, where the page
 * cache would have copied it. Threads of the pool wait for the disk.
 */
import fs from 'node:fs';
import {addressOf} from '../../runtime/sdk/memory-address.js';
import {ResourcePool} from '../lib/sync/resource-pool.js';
import {blockSize} from '../sessions/block.js';
import {transferByPool, type PoolTransfer} from './pool-transfer.js';

/** Bytes moved at once. */
const slotByteLength = 2 ** 17;
/** Pieces under way at once: 2 MiB of memory. */
const slotCount = 16;

/** The file system does not know transfers past the page cache. */
export class DirectUnknownError extends Error {
	override readonly name = 'DirectUnknownError';
}

/**
 * Opens an image that is open already once more, for transfers past the page cache.
 * @throws DirectUnknownError, or what the host says
 */
export function openDirect(fd: number, path: string, writable: boolean): number {
	const {O_DIRECT, O_RDONLY, O_RDWR} = fs.constants;
	let direct: number;
	try {
		direct = fs.openSync(path, (writable ? O_RDWR : O_RDONLY) | O_DIRECT);
	} catch (error) {
		throw (error as NodeJS.ErrnoException).code === 'EINVAL'
			? new DirectUnknownError(
					`the file system of ${path} does not know transfers past the page cache; take direct="yes" away, or move the image`,
				)
			: error;
	}

	const [one, other] = [fs.fstatSync(fd), fs.fstatSync(direct)];
	if (one.ino !== other.ino || one.dev !== other.dev) {
		fs.closeSync(direct);
		throw new DirectUnknownError(`${path} was exchanged for another file while it was opened; start again`);
	}

	return direct;
}

function alignedSlots(): Uint8Array[] {
	const memory = new Uint8Array(slotCount * slotByteLength + blockSize);
	const offset = (blockSize - (addressOf(memory) % blockSize)) % blockSize;
	return Array.from({length: slotCount}, (_, i) =>
		memory.subarray(offset + i * slotByteLength, offset + (i + 1) * slotByteLength),
	);
}

export interface DirectTransfersOptions {
	/** What the session is told of a failure at a position. */
	fault(error: unknown, action: string, position: number): unknown;
	/** What it is told where the file ends before the position. */
	endFault(action: string, position: number): unknown;
}

export class DirectTransfers {
	readonly #options: DirectTransfersOptions;
	readonly #slots = new ResourcePool(alignedSlots());
	readonly #running = new Set<Promise<void>>();

	constructor(options: DirectTransfersOptions) {
		this.#options = options;
	}

	/** `data` is in use until the promise settles. */
	async read(fd: number, extents: readonly number[], data: Uint8Array): Promise<void> {
		await this.#all(extents, async (offset, length, position) => {
			await this.#slots.use(async slot => {
				const part = slot.subarray(0, length);
				await this.#move(fs.read, fd, part, position, 'reading');
				data.set(part, offset);
			});
		});
	}

	/** The same for writes. */
	async write(fd: number, extents: readonly number[], data: Uint8Array): Promise<void> {
		await this.#all(extents, async (offset, length, position) => {
			await this.#slots.use(async slot => {
				const part = slot.subarray(0, length);
				part.set(data.subarray(offset, offset + length));
				await this.#move(fs.write, fd, part, position, 'writing');
			});
		});
	}

	/** Resolves when nothing is under way. */
	async idle(): Promise<void> {
		await Promise.allSettled(this.#running);
	}

	/** Ends when all pieces have, since until then they use the request's memory; fails with the first failure. */
	async #all(
		extents: readonly number[],
		movePiece: (offset: number, length: number, position: number) => Promise<void>,
	): Promise<void> {
		const pieces: Array<Promise<void>> = [];
		let offset = 0;
		for (let i = 0; i < extents.length; i += 2) {
			const byteLength = extents[i + 1] * blockSize;
			for (let done = 0; done < byteLength; done += slotByteLength) {
				const length = Math.min(slotByteLength, byteLength - done);
				const piece = movePiece(offset + done, length, extents[i] * blockSize + done);
				this.#running.add(piece);
				pieces.push(piece);
			}

			offset += byteLength;
		}

		const results = await Promise.allSettled(pieces);
		for (const piece of pieces) {
			this.#running.delete(piece);
		}

		const failed = results.find(({status}) => status === 'rejected') as PromiseRejectedResult | undefined;
		if (failed) {
			throw failed.reason;
		}
	}

	/** What is left of a part has to begin at a whole block again. */
	async #move(transfer: PoolTransfer, fd: number, part: Uint8Array, position: number, action: string): Promise<void> {
		let done = 0;
		while (done < part.length) {
			let moved: number;
			try {
				moved = await transferByPool(transfer, fd, part.subarray(done), position + done);
			} catch (error) {
				throw this.#options.fault(error, action, position + done);
			}

			if (moved === 0 || moved % blockSize !== 0) {
				throw this.#options.endFault(action, position + done + moved);
			}

			done += moved;
		}
	}
}
