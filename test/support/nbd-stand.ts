/** An NBD server over a device in memory that a test can hold up and make fail. */
import path from 'node:path';
import nbd from '../../components/nbd/component.js';
import {block, blockSize} from '../../components/sessions/block.js';
import type {Environment} from '../../runtime/sdk/component.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {startComponent, temporaryDirectory, type Stand} from './component-stand.js';
import {MemoryMedium} from './memory-medium.js';
import {NbdPeer} from './nbd-peer.js';

export interface NbdStandOptions {
	readonly blockCount?: number;
	readonly writable?: boolean;
	readonly config?: Readonly<Record<string, unknown>>;
	readonly control?: unknown;
	readonly environment?: Partial<Environment>;
	readonly leaseLimit?: number;
}

export class NbdStand {
	readonly medium: MemoryMedium;
	readonly socketPath: string;
	/** Each operation of the device passes this gate; a test replaces it to hold requests up. */
	gate: (operation: string) => Promise<void> = async () => undefined;
	/** Blocks that the device looks at for one answer about allocation. */
	allocationCountMax = Infinity;
	#stand: Stand | undefined;

	private constructor({blockCount = 64, writable = true}: NbdStandOptions) {
		this.medium = new MemoryMedium(Buffer.alloc(blockCount * blockSize), {writable});
		this.socketPath = path.join(temporaryDirectory(), 'nbd.sock');
	}

	static async start(options: NbdStandOptions = {}): Promise<NbdStand> {
		const stand = new NbdStand(options);
		stand.#stand = await startComponent(nbd, {
			config: {unix: [{path: stand.socketPath}], ...options.config},
			sessions: {device: stand.#gatedDevice(), control: options.control},
			environment: options.environment,
			leaseLimit: options.leaseLimit,
		});
		return stand;
	}

	get component(): Stand {
		return this.#stand!;
	}

	async connect(): Promise<NbdPeer> {
		return NbdPeer.connect(this.socketPath);
	}

	/** A client that serves already. */
	async attach(options?: Parameters<NbdPeer['attach']>[0]): Promise<NbdPeer> {
		const peer = await this.connect();
		await peer.attach(options);
		return peer;
	}

	async stop(): Promise<void> {
		await this.component.running.stop!();
	}

	#gatedDevice() {
		const {handlers} = this.medium;
		return connectLocal(
			block,
			{
				...handlers,
				read: async (request, context) => {
					await this.gate('read');
					return handlers.read(request, context);
				},
				allocation: async (request, context) =>
					handlers.allocation({...request, count: Math.min(request.count, this.allocationCountMax)}, context),
				write: async (request, context) => {
					await this.gate('write');
					return handlers.write(request, context);
				},
				sync: async (request, context) => {
					await this.gate('sync');
					return handlers.sync(request, context);
				},
			},
			{
				context: {session: 1, client: 'nbd'},
				onBug: error => {
					throw error;
				},
			},
		);
	}
}
