/**
 * Reads of the image. What the page cache holds is read at once. What it does not hold, the disk is told to read, all of
 * it at the same time; so the depth of the requests reaches the device although one thread reads.
 *
 * How it is waited for depends on what the disk was measured to take: for a quick one this thread waits, for one piece
 * at a time and only where nothing else is to be done, since waking another thread would take longer; for a slow one
 * threads of the pool wait. Where the host does not tell what the page cache holds, reads are timed instead.
 */
import fs from 'node:fs';
import {Pace} from '../lib/host/pace.js';
import {blockSize} from '../sessions/block.js';
import {absent, unknown, type PageCache} from './page-cache.js';
import {PendingRequest} from './pending-request.js';

/** What a wait of this thread may take before threads of the pool wait instead, in milliseconds. */
const diskLimits = {atOnceMsMax: 0.15, handedOverMsMax: 0.3};
/** The same for a read that may come from the page cache or from the disk: so long takes the former. */
const blindLimits = {atOnceMsMax: 0.05, handedOverMsMax: 0.15};

/** Bytes that this thread waits for at most; the rest is there soon after, and is looked for again. */
const waitByteLength = 2 ** 16;
/** Threads of the pool that wait at once; it has four, and a sync needs one. */
const waiterCountMax = 3;
/** After so many looks that found one piece alone, the next one is waited for without looking for others first. */
const aloneCountMin = 8;
/** After so many pieces that are not there yet, those asked for later are not looked for. */
const absentCountMax = 4;

export interface DiskReadsOptions {
	readonly pageCache: PageCache;
	/** Milliseconds that only ever grow. */
	now(): number;
	/** What the session is told of a failed read at a position. */
	fault(error: unknown, position: number): unknown;
	/** What it is told where the file ends before the position. */
	endFault(position: number): unknown;
}

/** From `offset` to `end` of the payload, and from `position` on in the file. */
interface Range {
	readonly offset: number;
	readonly end: number;
	readonly position: number;
}

/** A part of a request that is contiguous in the file, and not read yet. */
interface Piece extends Range {
	readonly fd: number;
	readonly data: Uint8Array;
	readonly request: PendingRequest;
	offset: number;
	position: number;
	isHandedOver: boolean;
}

export class DiskReads {
	readonly #options: DiskReadsOptions;
	readonly #diskPace = new Pace(diskLimits);
	readonly #blindPace = new Pace(blindLimits);
	/** In the order in which they were asked for. */
	readonly #pieces: Piece[] = [];
	#waiterCount = 0;
	#isLooking = false;
	/** False once the host has said that it does not tell what the page cache holds. */
	#knowsCache = true;
	#callCount = 0;
	#diskCount = 0;
	/** Looks in a row that found one piece and no more. */
	#aloneCount = 0;
	readonly #onIdle: Array<() => void> = [];

	constructor(options: DiskReadsOptions) {
		this.#options = options;
	}

	/** Calls of the kernel that have read, or found nothing to read yet. */
	get callCount(): number {
		return this.#callCount;
	}

	/** Pieces that the page cache did not hold. */
	get diskCount(): number {
		return this.#diskCount;
	}

	/**
	 * Reads the blocks of `extents` into `data`, which has their size. @returns nothing where all is read; else `data`
	 * is in use until the promise settles. @throws what `fault` and `endFault` make
	 */
	read(fd: number, extents: readonly number[], data: Uint8Array): Promise<void> | undefined {
		let request: PendingRequest | undefined;
		let offset = 0;
		for (let i = 0; i < extents.length; i += 2) {
			const end = offset + extents[i + 1] * blockSize;
			const position = extents[i] * blockSize;
			let read: number;
			try {
				read = this.#readNow(fd, data, {offset, end, position});
				if (offset + read < end && this.#isAlone(end - offset - read)) {
					read += this.#waitAlone(fd, data, {offset: offset + read, end, position: position + read});
				}
			} catch (error) {
				if (!request) {
					throw error;
				}

				request.begin();
				request.end(error);
				break;
			}

			if (offset + read < end) {
				request ??= this.#openRequest();
				this.#add({
					fd,
					data,
					request,
					end,
					offset: offset + read,
					position: position + read,
					isHandedOver: false,
				});
			}

			offset = end;
		}

		request?.end();
		return request?.ended;
	}

	/** Resolves when nothing is under way. */
	async idle(): Promise<void> {
		if (this.#pieces.length > 0) {
			await new Promise<void>(resolve => {
				this.#onIdle.push(resolve);
			});
		}
	}

	/** Its first part is the caller's, so that it does not end before all parts are known. */
	#openRequest(): PendingRequest {
		const request = new PendingRequest();
		request.begin();
		return request;
	}

	/** @returns bytes that did not have to be waited for */
	#readNow(fd: number, data: Uint8Array, {offset, end, position}: Range): number {
		let read = 0;
		while (offset + read < end) {
			const moved = this.#knowsCache
				? this.#readCached(fd, data, offset + read, end, position + read)
				: this.#readBlindly(fd, data, offset + read, end, position + read);
			if (moved === absent) {
				break;
			}

			read += moved;
		}

		return read;
	}

	#readCached(fd: number, data: Uint8Array, offset: number, end: number, position: number): number {
		this.#callCount++;
		const moved = this.#options.pageCache.read(fd, data, offset, end - offset, position);
		if (moved === 0) {
			throw this.#options.endFault(position);
		}

		if (moved === unknown) {
			this.#knowsCache = false;
			return this.#readBlindly(fd, data, offset, end, position);
		}

		return moved;
	}

	/** Reads where that was quick until now. */
	#readBlindly(fd: number, data: Uint8Array, offset: number, end: number, position: number): number {
		if (!this.#blindPace.isQuick) {
			return absent;
		}

		const startedMs = this.#options.now();
		const moved = this.#readWaiting(fd, data, offset, Math.min(end, offset + waitByteLength), position);
		this.#blindPace.tookAtOnce(this.#options.now() - startedMs);
		return moved;
	}

	#readWaiting(fd: number, data: Uint8Array, offset: number, end: number, position: number): number {
		this.#callCount++;
		let moved: number;
		try {
			moved = fs.readSync(fd, data, offset, end - offset, position);
		} catch (error) {
			throw this.#options.fault(error, position);
		}

		if (moved === 0) {
			throw this.#options.endFault(position);
		}

		return moved;
	}

	/** True where requests have come one at a time, and this one is short. */
	#isAlone(byteLength: number): boolean {
		if (this.#aloneCount < aloneCountMin || byteLength > waitByteLength || !this.#diskPace.isQuick) {
			return false;
		}

		if (this.#isLooking || this.#pieces.length > 0) {
			// Another one has come in this turn of the event loop.
			this.#aloneCount = 0;
			return false;
		}

		this.#lookSoon();
		return true;
	}

	/** @returns bytes read, which may be less than all */
	#waitAlone(fd: number, data: Uint8Array, {offset, end, position}: Range): number {
		this.#diskCount++;
		const startedMs = this.#options.now();
		const moved = this.#readWaiting(fd, data, offset, end, position);
		this.#diskPace.tookAtOnce(this.#options.now() - startedMs);
		return moved;
	}

	#add(piece: Piece): void {
		this.#diskCount++;
		piece.request.begin();
		this.#pieces.push(piece);
		if (this.#knowsCache) {
			this.#options.pageCache.readAhead(piece.fd, piece.position, piece.end - piece.offset);
			this.#lookSoon();
		} else {
			this.#handOver(piece);
		}
	}

	/** Behind all that has arrived meanwhile: those are asked of the disk first. */
	#lookSoon(): void {
		if (!this.#isLooking) {
			this.#isLooking = true;
			setImmediate(() => {
				this.#isLooking = false;
				this.#look();
			});
		}
	}

	/** Ends what is there by now; where nothing is, waits for what was asked for first, here or elsewhere. */
	#look(): void {
		if (this.#pieces.length > 0) {
			this.#aloneCount = this.#pieces.length === 1 ? this.#aloneCount + 1 : 0;
		}

		const hasProgress = this.#sweep();
		const next = this.#pieces.find(({isHandedOver}) => !isHandedOver);
		if (!next) {
			return;
		}

		if (this.#diskPace.isQuick) {
			if (!hasProgress) {
				this.#waitFor(next);
			}

			if (this.#pieces.length > this.#waiterCount) {
				this.#lookSoon();
			}

			return;
		}

		for (const piece of this.#pieces) {
			if (this.#waiterCount >= waiterCountMax) {
				break;
			}

			if (!piece.isHandedOver) {
				this.#handOver(piece);
			}
		}
	}

	/** @returns true where a piece has moved on */
	#sweep(): boolean {
		let absentCount = 0;
		let hasProgress = false;
		let keptCount = 0;
		for (const piece of this.#pieces) {
			if (!piece.isHandedOver && absentCount < absentCountMax) {
				const {offset} = piece;
				if (this.#advance(piece, false)) {
					hasProgress = true;
					continue;
				}

				hasProgress ||= piece.offset > offset;
				absentCount++;
			}

			this.#pieces[keptCount++] = piece;
		}

		this.#pieces.length = keptCount;
		this.#tellIdle();
		return hasProgress;
	}

	#waitFor(piece: Piece): void {
		const startedMs = this.#options.now();
		const hasEnded = this.#advance(piece, true);
		this.#diskPace.tookAtOnce(this.#options.now() - startedMs);
		if (hasEnded) {
			this.#remove(piece);
		}
	}

	/** @returns true where the piece has ended, read or not */
	#advance(piece: Piece, waits: boolean): boolean {
		const {fd, data, request} = piece;
		if (request.hasFailed) {
			request.end();
			return true;
		}

		try {
			const {offset, position} = piece;
			const moved = waits
				? this.#readWaiting(fd, data, offset, Math.min(piece.end, offset + waitByteLength), position)
				: this.#readNow(fd, data, piece);
			piece.offset += moved;
			piece.position += moved;
		} catch (error) {
			request.end(error);
			return true;
		}

		if (piece.offset === piece.end) {
			request.end();
			return true;
		}

		return false;
	}

	/** A thread of the pool waits for the rest of the piece. */
	#handOver(piece: Piece): void {
		const {fd, data, offset, end, position} = piece;
		const pace = this.#knowsCache ? this.#diskPace : this.#blindPace;
		const startedMs = this.#options.now();
		piece.isHandedOver = true;
		this.#waiterCount++;
		this.#callCount++;
		fs.read(fd, data, offset, end - offset, position, (error, moved) => {
			this.#waiterCount--;
			pace.tookHandedOver(this.#options.now() - startedMs);
			this.#endWait(piece, error, moved);
		});
	}

	#endWait(piece: Piece, error: Error | null, moved: number): void {
		if (error === null && moved > 0 && piece.offset + moved < piece.end) {
			piece.offset += moved;
			piece.position += moved;
			this.#handOver(piece);
			return;
		}

		if (error !== null) {
			piece.request.end(this.#options.fault(error, piece.position));
		} else if (moved === 0) {
			piece.request.end(this.#options.endFault(piece.position));
		} else {
			piece.request.end();
		}

		this.#remove(piece);
		if (this.#pieces.length > this.#waiterCount) {
			this.#look();
		}
	}

	#remove(piece: Piece): void {
		this.#pieces.splice(this.#pieces.indexOf(piece), 1);
		this.#tellIdle();
	}

	#tellIdle(): void {
		if (this.#pieces.length === 0) {
			for (const resolve of this.#onIdle.splice(0)) {
				resolve();
			}
		}
	}
}
