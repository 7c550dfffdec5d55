/** The bytes of the device or of one of its snapshots, as a file of fixed or growing size. */
import {isSessionError, type Client} from '../../runtime/sdk/session.js';
import {ByteDevice, type PartialBlockBuffers} from '../lib/front_end/byte-device.js';
import {allocationKinds} from '../sessions/allocation.js';
import {blockSize, type block} from '../sessions/block.js';
import type {deviceControl, SnapshotDescription} from '../sessions/device-control.js';
import {FileError} from './errno.js';

/** Whether the device may be used through this file system. */
export interface Service {
	/** Grows each time the device loses what was not flushed: handles of earlier epochs are worth nothing. */
	epoch: number;
	/** Set once the device was deinitialized. */
	isOver: boolean;
}

export class DataFile {
	readonly writable: boolean;
	readonly #device: ByteDevice;
	readonly #measure: () => Promise<number>;
	readonly #service: Service | undefined;
	#byteLength = 0;

	/** @param measure tells the size in bytes */
	constructor(options: {device: ByteDevice; measure: () => Promise<number>; writable: boolean; service?: Service}) {
		this.writable = options.writable;
		this.#device = options.device;
		this.#measure = options.measure;
		this.#service = options.service;
	}

	/** Compared with its value when a handle was opened. */
	get epoch(): number {
		return this.#service?.epoch ?? 0;
	}

	async byteLength(): Promise<number> {
		this.#byteLength = await this.#measure();
		return this.#byteLength;
	}

	/** How many of `length` bytes at `offset` there are. */
	async available(offset: number, length: number): Promise<number> {
		this.#requireService();
		if (offset + length > this.#byteLength) {
			await this.byteLength();
		}

		return Math.max(0, Math.min(length, this.#byteLength - offset));
	}

	/** Fills `data`; all of it must be available. */
	async read(offset: number, data: Buffer): Promise<void> {
		await this.#device.read(offset, data);
	}

	async write(offset: number, data: Buffer): Promise<void> {
		await this.#requireRoom(offset, data.length);
		if (data.length > 0) {
			await this.#device.write(offset, data);
		}
	}

	async zero(offset: number, length: number): Promise<void> {
		await this.#requireRoom(offset, length);
		await this.#device.zero(offset, length);
	}

	/** @throws FileError EROFS */
	requireWritable(): void {
		if (!this.writable) {
			throw new FileError('EROFS', 'the file can be read only');
		}
	}

	/** Where room is asked for, there is room inside of the file, and none beyond. @throws FileError ENOSPC */
	async #requireRoom(offset: number, length: number): Promise<void> {
		this.requireWritable();
		if ((await this.available(offset, length)) < length) {
			throw new FileError('ENOSPC', `${length} bytes at ${offset} reach beyond the end of the device`);
		}
	}

	async reserve(offset: number, length: number): Promise<void> {
		await this.#requireRoom(offset, length);
	}

	/**
	 * Where the next bytes of that kind begin, from `offset` on; the end of the file counts as a hole. Where nothing is
	 * known of a part, it is data. @throws FileError ENXIO where there are none
	 */
	async seek(offset: number, kind: number): Promise<number> {
		this.#requireService();
		const end = await this.byteLength();
		for (let start = offset; start < end;) {
			const runs = await this.#device.allocation(start, end - start);
			for (let i = 0; i < runs.length; i += 2) {
				if (runs[i + 1] === kind) {
					return start;
				}

				start += runs[i];
			}
		}

		if (offset < end && kind === allocationKinds.hole) {
			return end;
		}

		throw new FileError('ENXIO', `there is nothing of that kind from byte ${offset} on`);
	}

	async sync(): Promise<void> {
		this.#requireService();
		await this.#device.sync();
	}

	#requireService(): void {
		if (this.#service?.isOver === true) {
			throw new FileError(
				'ESHUTDOWN',
				'the device was deinitialized; "runtime restart" of this component serves it again',
			);
		}
	}
}

/** A device that has been locked since its start cannot tell yet; one that can be locked can be written to. */
async function isWritable(device: Client<typeof block>): Promise<boolean> {
	try {
		return (await device.geometry({})).writable;
	} catch (error) {
		if (isSessionError(error) && error.code === 'locked') {
			return true;
		}

		throw error;
	}
}

export async function deviceFile(
	device: Client<typeof block>,
	buffers: PartialBlockBuffers,
	readOnly: boolean,
	service: Service,
): Promise<DataFile> {
	const writable = await isWritable(device);
	return new DataFile({
		device: new ByteDevice(
			{
				read: device.read,
				allocation: device.allocation,
				write: device.write,
				clear: device.clear,
				sync: async () => device.sync({}),
			},
			buffers,
		),
		measure: async () => (await device.geometry({})).blockCount * blockSize,
		writable: writable && !readOnly,
		service,
	});
}

export function snapshotFile(
	control: Client<typeof deviceControl>,
	{generation, blockCount}: SnapshotDescription,
	buffers: PartialBlockBuffers,
): DataFile {
	return new DataFile({
		device: new ByteDevice(
			{
				read: async request => control.read_snapshot({generation, ...request}),
				allocation: async request => control.snapshot_allocation({generation, ...request}),
			},
			buffers,
		),
		measure: async () => blockCount * blockSize,
		writable: false,
	});
}
