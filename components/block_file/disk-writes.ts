/**
 * Writes to the image. The page cache takes them at once, until the host holds up whoever writes faster than its disk
 * stores. From then on threads of the pool write and are held up, as long as it lasts.
 */
import fs from 'node:fs';
import {Pace} from '../lib/host/pace.js';
import {ResourcePool} from '../lib/sync/resource-pool.js';
import {blockSize} from '../sessions/block.js';
import {transferByPool} from './pool-transfer.js';

/** What one piece may take; the page cache takes one in less than a tenth of it. */
const limits = {atOnceMsMax: 2, handedOverMsMax: 2};

/** Threads of the pool that write at once: it has four, and reads and syncs need some. */
const writerCountMax = 2;

/**
 * Bytes in one write. The page cache keeps what one write brings in one piece of up to 2 MiB, and whatever later
 * changes or stores a block of it goes through all blocks of it: after writes of 1 MiB, a write of 4 KiB was measured
 * to take 8 µs and storing 64 of them 810 µs; after writes of 128 KiB 4.5 and 560 (Linux 6.18, ext4). Writing in order
 * takes 2 to 5 % longer.
 */
const writeByteLengthMax = 2 ** 17;

/** Writes at most one piece. */
export function writePiece(fd: number, data: Uint8Array, offset: number, length: number, position: number): number {
	return fs.writeSync(fd, data, offset, Math.min(length, writeByteLengthMax), position);
}

export interface DiskWritesOptions {
	/** Milliseconds that only ever grow. */
	now(): number;
	/** What the session is told of a failed write at a position. */
	fault(error: unknown, position: number): unknown;
	/** What it is told where nothing could be written at the position. */
	endFault(position: number): unknown;
}

/** A request, and how far it has come. */
interface Progress {
	readonly fd: number;
	readonly extents: readonly number[];
	readonly data: Uint8Array;
	/** Of the extent that is being written, in `extents`. */
	at: number;
	/** Bytes of it that are written. */
	done: number;
	/** Bytes of all. */
	offset: number;
}

/** How many bytes the next piece has; 0 where all is written. */
function nextLength(progress: Progress): number {
	const {extents, at, done} = progress;
	return at >= extents.length ? 0 : Math.min(writeByteLengthMax, extents[at + 1] * blockSize - done);
}

function nextPosition({extents, at, done}: Progress): number {
	return extents[at] * blockSize + done;
}

function advance(progress: Progress, byteLength: number): void {
	progress.offset += byteLength;
	progress.done += byteLength;
	if (progress.done === progress.extents[progress.at + 1] * blockSize) {
		progress.at += 2;
		progress.done = 0;
	}
}

export class DiskWrites {
	readonly #options: DiskWritesOptions;
	readonly #pace = new Pace(limits);
	readonly #running = new Set<Promise<void>>();
	/** Threads of the pool: whoever has one may write. */
	readonly #writers = new ResourcePool(Array.from({length: writerCountMax}, (_, i) => i));

	constructor(options: DiskWritesOptions) {
		this.#options = options;
	}

	/**
	 * Writes `data` to the blocks of `extents`, which have its size. @returns nothing where all is written; else `data`
	 * is in use until the promise settles. @throws what `fault` and `endFault` make
	 */
	write(fd: number, extents: readonly number[], data: Uint8Array): Promise<void> | undefined {
		const progress = {fd, extents, data, at: 0, done: 0, offset: 0};
		if (this.#writeAtOnce(progress)) {
			return undefined;
		}

		const running = this.#writers
			.use(async () => this.#writePieces(progress))
			.finally(() => {
				this.#running.delete(running);
			});
		this.#running.add(running);
		return running;
	}

	/** Resolves when nothing is under way. */
	async idle(): Promise<void> {
		await Promise.allSettled(this.#running);
	}

	/** @returns true where all is written */
	#writeAtOnce(progress: Progress): boolean {
		const {fd, data} = progress;
		for (let length = nextLength(progress); length > 0; length = nextLength(progress)) {
			// Those that wait were here before.
			if (!this.#pace.isQuick || this.#writers.isAwaited) {
				return false;
			}

			const position = nextPosition(progress);
			const startedMs = this.#options.now();
			let moved: number;
			try {
				moved = fs.writeSync(fd, data, progress.offset, length, position);
			} catch (error) {
				throw this.#options.fault(error, position);
			}

			this.#pace.tookAtOnce(this.#options.now() - startedMs);
			this.#note(progress, position, moved);
		}

		return true;
	}

	async #writePieces(progress: Progress): Promise<void> {
		const {fd, data} = progress;
		for (let length = nextLength(progress); length > 0; length = nextLength(progress)) {
			const position = nextPosition(progress);
			const startedMs = this.#options.now();
			let moved: number;
			try {
				moved = await transferByPool(
					fs.write,
					fd,
					data.subarray(progress.offset, progress.offset + length),
					position,
				);
			} catch (error) {
				throw this.#options.fault(error, position);
			}

			this.#pace.tookHandedOver(this.#options.now() - startedMs);
			this.#note(progress, position, moved);
		}
	}

	#note(progress: Progress, position: number, moved: number): void {
		if (moved === 0) {
			throw this.#options.endFault(position);
		}

		advance(progress, moved);
	}
}
