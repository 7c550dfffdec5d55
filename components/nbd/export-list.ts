/** What clients can attach to: the device, and each of its snapshots where they can be reached. */
import type {Client} from '../../runtime/sdk/session.js';
import {ByteDevice, type PartialBlockBuffers} from '../lib/front_end/byte-device.js';
import {blockSize, type block} from '../sessions/block.js';
import type {deviceControl, SnapshotDescription} from '../sessions/device-control.js';

export interface Export {
	readonly name: string;
	readonly description: string;
	readonly byteLength: number;
	readonly readOnly: boolean;
	readonly device: ByteDevice;
}

export interface ExportListOptions {
	readonly device: Client<typeof block>;
	readonly control: Client<typeof deviceControl> | undefined;
	/** The device's name beside the empty one, which is the protocol's default. */
	readonly deviceName: string;
	readonly readOnly: boolean;
	readonly buffers: PartialBlockBuffers;
}

const snapshotPrefix = 'snapshots/';

/** Each snapshot has its number, and its name where it has one; no name looks like a number. */
function namesOf({generation, name}: SnapshotDescription): string[] {
	return [`${snapshotPrefix}${generation}`, ...(name === undefined ? [] : [`${snapshotPrefix}${name}`])];
}

export class ExportList {
	readonly #options: ExportListOptions;
	/** One for all connections: partial writes are kept apart across them. */
	readonly #device: ByteDevice;

	constructor(options: ExportListOptions) {
		this.#options = options;
		const {device, buffers} = options;
		this.#device = new ByteDevice(
			{
				read: device.read,
				allocation: device.allocation,
				write: device.write,
				clear: device.clear,
				sync: async () => device.sync({}),
			},
			buffers,
		);
	}

	/** The exports that there are now. */
	async list(): Promise<Export[]> {
		const snapshots = await this.#snapshots();
		return [
			await this.#deviceExport(),
			...snapshots.flatMap(snapshot => namesOf(snapshot).map(name => this.#snapshotExport(snapshot, name))),
		];
	}

	/** The export of that name, if there is one now. */
	async find(name: string): Promise<Export | undefined> {
		if (name === '' || name === this.#options.deviceName) {
			return this.#deviceExport();
		}

		if (!name.startsWith(snapshotPrefix)) {
			return undefined;
		}

		const snapshot = (await this.#snapshots()).find(candidate => namesOf(candidate).includes(name));
		return snapshot && this.#snapshotExport(snapshot, name);
	}

	async #snapshots(): Promise<SnapshotDescription[]> {
		if (!this.#options.control) {
			return [];
		}

		const {snapshots} = await this.#options.control.list_snapshots({});
		return snapshots;
	}

	async #deviceExport(): Promise<Export> {
		const {blockCount, writable} = await this.#options.device.geometry({});
		return {
			name: this.#options.deviceName,
			description: 'the device',
			byteLength: blockCount * blockSize,
			readOnly: this.#options.readOnly || !writable,
			device: this.#device,
		};
	}

	#snapshotExport({generation, blockCount, time}: SnapshotDescription, name: string): Export {
		const {control, buffers} = this.#options;
		return {
			name,
			description: `the device as it was in generation ${generation}${time === undefined ? '' : `, ${new Date(time * 1000).toISOString()}`}`,
			byteLength: blockCount * blockSize,
			readOnly: true,
			device: new ByteDevice(
				{
					read: async request => control!.read_snapshot({generation, ...request}),
					allocation: async request => control!.snapshot_allocation({generation, ...request}),
				},
				buffers,
			),
		};
	}
}
