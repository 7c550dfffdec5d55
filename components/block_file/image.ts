/** The image as a device of blocks: positioned transfers, growth and durability. */
import fs from 'node:fs';
import {whyUnmakable} from '../../runtime/sdk/host-path.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {DataSync} from '../lib/host/data-sync.js';
import {requireExtents} from '../lib/format/extents.js';
import {blockSize} from '../sessions/block.js';
import {DirectTransfers, DirectUnknownError, openDirect} from './direct-transfers.js';
import {DiskReads} from './disk-reads.js';
import {DiskWrites, writePiece} from './disk-writes.js';
import {GroupSync} from './group-sync.js';
import {punchHole, takeRoom} from './hole-punch.js';
import {hostFault} from './host-fault.js';
import {createImageFile, type ImageFile} from './image-file.js';
import {openPageCache, type PageCache} from './page-cache.js';

/** Zeroes for one write where no hole can be punched: 1 MiB. */
const zeroPiece = new Uint8Array(2 ** 20);

type Transfer = (fd: number, data: Uint8Array, offset: number, length: number, position: number) => number;

export interface ImageOptions {
	readonly path: string;
	readonly writable: boolean;
	readonly growable: boolean;
	/** Makes holes; false where the host cannot. Tests replace it. */
	readonly punch?: typeof punchHole;
	/** Takes room; false where the host cannot. Tests replace it. */
	readonly take?: typeof takeRoom;
	/** Tests replace it. */
	readonly pageCache?: PageCache;
	/** Reads and writes go past the page cache. */
	readonly direct?: boolean;
	/** Milliseconds that only ever grow. */
	now(): number;
}

/** Whole blocks that `byteLength` bytes hold. */
function wholeBlocks(byteLength: number): number {
	return Math.floor(byteLength / blockSize);
}

export class Image {
	readonly path: string;
	readonly writable: boolean;
	readonly growable: boolean;
	#file: ImageFile | undefined;
	#blockCount: number;
	/** Why nothing can be made durable any more; set once, for good. */
	#syncFault: SessionError | undefined;
	/** False once the host has said that it cannot make holes in this image. */
	#mayPunch = true;
	readonly #punch: typeof punchHole;
	readonly #take: typeof takeRoom;
	readonly #sync = new GroupSync(async () => this.#syncNow());
	readonly #dataSync: DataSync;
	readonly #reads: DiskReads;
	readonly #writes: DiskWrites;
	/** For transfers past the page cache, of the same file as `#file`. */
	#directFd: number | undefined;
	readonly #direct: DirectTransfers | undefined;

	/** Without a file the image is empty until it grows. */
	constructor(
		file: ImageFile | undefined,
		{
			path,
			writable,
			growable,
			punch = punchHole,
			take = takeRoom,
			pageCache = openPageCache(),
			direct = false,
			now,
		}: ImageOptions,
	) {
		this.#dataSync = new DataSync(now);
		this.#reads = new DiskReads({
			pageCache,
			now,
			fault: (error, position) => hostFault(error, `reading byte ${position} of`, path),
			endFault: position => this.#endFault('reading', position),
		});
		this.#writes = new DiskWrites({
			now,
			fault: (error, position) => hostFault(error, `writing byte ${position} of`, path),
			endFault: position => this.#endFault('writing', position),
		});
		this.path = path;
		this.writable = writable;
		this.growable = growable;
		this.#punch = punch;
		this.#take = take;
		this.#direct = direct
			? new DirectTransfers({
					fault: (error, action, position) => hostFault(error, `${action} byte ${position} of`, path),
					endFault: (action, position) => this.#endFault(action, position),
				})
			: undefined;
		this.#use(file);
		this.#blockCount = wholeBlocks(file?.byteLength ?? 0);
	}

	get blockCount(): number {
		return this.#blockCount;
	}

	/** Of the open file, where there is one. */
	get fd(): number | undefined {
		return this.#file?.fd;
	}

	/** Calls of the kernel that have read, or found nothing in the page cache. */
	get readCallCount(): number {
		return this.#reads.callCount;
	}

	/** Contiguous parts of requests that had to come from the disk. */
	get diskReadCount(): number {
		return this.#reads.diskCount;
	}

	/** @returns nothing where all is read; else `data` is in use until the promise settles */
	read(extents: readonly number[], data: Uint8Array): Promise<void> | undefined {
		requireExtents(extents, this.#blockCount, this.path);
		if (extents.length === 0) {
			return undefined;
		}

		return this.#direct
			? this.#direct.read(this.#directFd!, extents, data)
			: this.#reads.read(this.#file!.fd, extents, data);
	}

	/** @returns nothing where all is written; else `data` is in use until the promise settles */
	write(extents: readonly number[], data: Uint8Array): Promise<void> | undefined {
		this.#requireWritable();
		requireExtents(extents, this.#blockCount, this.path);
		if (extents.length === 0) {
			return undefined;
		}

		return this.#direct
			? this.#direct.write(this.#directFd!, extents, data)
			: this.#writes.write(this.#file!.fd, extents, data);
	}

	/** The blocks become a hole, or zeroes where the host cannot make holes. */
	clear(extents: readonly number[]): void {
		this.#requireWritable();
		requireExtents(extents, this.#blockCount, this.path);
		for (let i = 0; i < extents.length; i += 2) {
			this.#clearExtent(extents[i] * blockSize, extents[i + 1] * blockSize);
		}
	}

	/** The blocks have room in the file from now on, and the content that they had. */
	allocate(extents: readonly number[]): void {
		this.#requireWritable();
		requireExtents(extents, this.#blockCount, this.path);
		for (let i = 0; i < extents.length; i += 2) {
			this.#allocateExtent(extents[i] * blockSize, extents[i + 1] * blockSize);
		}
	}

	async sync(): Promise<void> {
		if (this.#syncFault) {
			throw this.#syncFault;
		}

		if (this.#file && this.writable) {
			await this.#sync.request();
		}
	}

	/** The new size is durable when it returns; the new blocks are a hole. */
	grow(blockCount: number): void {
		this.#requireWritable();
		if (blockCount <= this.#blockCount) {
			return;
		}

		if (!this.growable) {
			throw new SessionError(
				'no_space',
				`${this.path} has ${this.#blockCount} blocks and cannot grow to ${blockCount}: only files that may be written can`,
			);
		}

		this.#requireNothingBehind();
		const action = this.#file ? 'growing' : 'making';
		try {
			this.#extend(blockCount * blockSize);
		} catch (error) {
			if (error instanceof DirectUnknownError) {
				throw new SessionError('device_failed', error.message);
			}

			const reason = this.#file ? undefined : whyUnmakable(this.path, '');
			throw reason === undefined
				? hostFault(error, action, this.path)
				: new SessionError(
						'device_failed',
						`the image ${this.path} cannot be made: ${reason}; make the folder (mkdir -p) or give this user rights there, or correct the path`,
					);
		}

		this.#blockCount = blockCount;
	}

	/** Waits for what is under way, then lets the file go. */
	async close(): Promise<void> {
		await Promise.all([this.#sync.idle(), this.#reads.idle(), this.#writes.idle(), this.#direct?.idle()]);
		if (this.#directFd !== undefined) {
			fs.closeSync(this.#directFd);
			this.#directFd = undefined;
		}

		if (this.#file) {
			fs.closeSync(this.#file.fd);
			this.#file = undefined;
		}
	}

	/** @throws DirectUnknownError, with the file closed */
	#use(file: ImageFile | undefined): void {
		if (file && this.#direct) {
			try {
				this.#directFd = openDirect(file.fd, this.path, this.writable);
			} catch (error) {
				fs.closeSync(file.fd);
				throw error;
			}
		}

		this.#file = file;
	}

	#extend(byteLength: number): void {
		if (!this.#file) {
			this.#use(createImageFile(this.path, byteLength));
			return;
		}

		fs.ftruncateSync(this.#file.fd, byteLength);
		fs.fsyncSync(this.#file.fd);
	}

	/**
	 * What lies behind the last whole block is no block that anybody could have looked at before: it may be somebody's
	 * data.
	 */
	#requireNothingBehind(): void {
		if (!this.#file) {
			return;
		}

		const behind = new Uint8Array(blockSize);
		let length: number;
		try {
			length = fs.readSync(this.#file.fd, behind, 0, blockSize, this.#blockCount * blockSize);
		} catch (error) {
			throw hostFault(error, 'growing', this.path);
		}

		if (behind.some(byte => byte !== 0)) {
			throw new SessionError(
				'no_space',
				`the last ${length} bytes of ${this.path} are no whole block, and are not empty; they may be somebody's data, so the file does not grow over them: give the path of another image, or cut them off if they are nobody's`,
			);
		}
	}

	#requireWritable(): void {
		if (!this.writable) {
			throw new SessionError('read_only', `${this.path} is opened read-only`);
		}

		if (this.#syncFault) {
			throw this.#syncFault;
		}
	}

	/** Where the host cannot take room alone, writing what lies there does. */
	#allocateExtent(position: number, byteLength: number): void {
		try {
			if (this.#take(this.#file!.fd, position, byteLength)) {
				return;
			}
		} catch (error) {
			throw hostFault(error, `taking room for byte ${position} of`, this.path);
		}

		for (let done = 0; done < byteLength; done += zeroPiece.length) {
			const content = new Uint8Array(Math.min(zeroPiece.length, byteLength - done));
			const range = {offset: 0, end: content.length, position: position + done, action: 'taking room for'};
			this.#transferExtent(fs.readSync, content, range);
			this.#transferExtent(writePiece, content, range);
		}
	}

	#endFault(action: string, position: number): SessionError {
		return new SessionError(
			'device_failed',
			`${action} ${this.path} ended at byte ${position}: the file was truncated from outside`,
		);
	}

	#clearExtent(position: number, byteLength: number): void {
		try {
			this.#mayPunch &&= this.#punch(this.#file!.fd, position, byteLength);
		} catch (error) {
			throw hostFault(error, `clearing byte ${position} of`, this.path);
		}

		for (let done = 0; !this.#mayPunch && done < byteLength; done += zeroPiece.length) {
			const end = Math.min(zeroPiece.length, byteLength - done);
			this.#transferExtent(writePiece, zeroPiece, {
				offset: 0,
				end,
				position: position + done,
				action: 'clearing',
			});
		}
	}

	/** The kernel may transfer less than it was asked for; only nothing at all is a fault. */
	#transferExtent(
		transfer: Transfer,
		data: Uint8Array,
		{offset, end, position, action}: {offset: number; end: number; position: number; action: string},
	): void {
		const {fd} = this.#file!;
		try {
			while (offset < end) {
				const moved = transfer(fd, data, offset, end - offset, position);
				if (moved === 0) {
					throw this.#endFault(action, position);
				}

				offset += moved;
				position += moved;
			}
		} catch (error) {
			throw error instanceof SessionError ? error : hostFault(error, `${action} byte ${position} of`, this.path);
		}
	}

	/**
	 * After a failed sync the kernel drops the pages it could not write and reports success ever after, so a later
	 * sync proves nothing: every write and sync from then on fails.
	 */
	async #syncNow(): Promise<void> {
		if (this.#syncFault) {
			throw this.#syncFault;
		}

		try {
			await this.#dataSync.run(this.#file!.fd);
		} catch (error) {
			const fault = hostFault(error, 'syncing', this.path);
			this.#syncFault = new SessionError(
				'device_failed',
				`${fault.message}; what was written since the last sync may be lost, so nothing more is accepted until a restart`,
				fault.detail,
			);
			throw this.#syncFault;
		}
	}
}
