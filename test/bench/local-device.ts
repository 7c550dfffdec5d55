/** The whole device on this thread, wired as `low_latency.xml` wires it, over memory and without NBD. */
import {availableParallelism} from 'node:os';
import cacheComponent from '../../components/cache/component.js';
import freeTreeComponent from '../../components/free_tree/component.js';
import superblockControlComponent from '../../components/superblock_control/component.js';
import virtualBlockDeviceComponent from '../../components/virtual_block_device/component.js';
import blockFileComponent from '../../components/block_file/component.js';
import blockRamComponent from '../../components/block_ram/component.js';
import cryptoComponent from '../../components/crypto_openssl/component.js';
import trustAnchorComponent from '../../components/trust_anchor_file/component.js';
import {block} from '../../components/sessions/block.js';
import {makeEnvironment} from '../../runtime/host/host-environment.js';
import type {Component, Provisions, Requirement, Running} from '../../runtime/sdk/component.js';
import {environmentServices} from '../../runtime/sdk/environment-service.js';
import type {Client, Handlers, Session} from '../../runtime/sdk/session.js';
import {LeasePool} from '../../runtime/transport/lease-pool.js';
import {connectLocal} from '../../runtime/transport/local.js';

const leaseLimit = 96 * 2 ** 20;

interface Part {
	readonly component: Component;
	readonly config?: unknown;
	/** Serving parts by the label of the required session. */
	readonly routes?: Readonly<Record<string, string>>;
}

export interface Geometry {
	readonly vbd_leaves: string;
	readonly vbd_max_level: string;
	readonly vbd_degree: string;
	readonly ft_leaves: string;
	readonly ft_max_level: string;
	readonly ft_degree: string;
	readonly cipher: string;
}

export type Medium = 'block_ram' | 'block_file';

const media: Readonly<Record<Medium, Part>> = {
	block_ram: {component: blockRamComponent},
	block_file: {component: blockFileComponent, config: {path: 'cbe.img', create: 'yes'}},
};

/** Servers before their clients. */
function partsOf(geometry: Geometry, medium: Medium): Record<string, Part> {
	return {
		[medium]: media[medium],
		crypto: {component: cryptoComponent},
		trust_anchor: {component: trustAnchorComponent, config: {path: 'trust_anchor'}},
		cache: {component: cacheComponent, config: {size: '48M'}, routes: {block: medium}},
		free_tree: {component: freeTreeComponent, routes: {cache: 'cache'}},
		virtual_block_device: {
			component: virtualBlockDeviceComponent,
			routes: {cache: 'cache', block: medium, crypto: 'crypto', free_tree: 'free_tree'},
		},
		superblock_control: {
			component: superblockControlComponent,
			config: {create: [geometry]},
			routes: {
				virtual_block_device: 'virtual_block_device',
				free_tree: 'free_tree',
				block: medium,
				trust_anchor: 'trust_anchor',
				crypto: 'crypto',
			},
		},
	};
}

/** What passed one session. A message is a request or its reply. */
export interface Traffic {
	messageCount: number;
	byteLength: number;
	/** Of them, written to a medium. */
	writtenByteLength: number;
	/** Contiguous pieces of the medium that were read or written: as many calls of the kernel with block_file. */
	extentCount: number;
}

function sessionOf(requirement: Requirement): Session {
	return 'optional' in requirement ? requirement.session : requirement;
}

export interface LocalDeviceOptions {
	/** The clock of all parts; where it stands still, nothing happens that only time brings about. */
	readonly now?: () => number;
	readonly medium?: Medium;
}

/** True of what passed a session to the medium. */
export function isMediumRoute(route: string): boolean {
	return Object.keys(media).some(medium => route.endsWith(`> ${medium}`));
}

export class LocalDevice {
	/** By `client > server`, in order of the first connection. */
	readonly traffic = new Map<string, Traffic>();
	readonly #parts: Record<string, Part>;
	readonly #stateDirectory: string;
	readonly #now: () => number;
	readonly #running = new Map<string, Running<Provisions>>();
	#lastSession = 0;

	private constructor(geometry: Geometry, stateDirectory: string, {now, medium}: Required<LocalDeviceOptions>) {
		this.#now = now;
		this.#parts = partsOf(geometry, medium);
		this.#stateDirectory = stateDirectory;
	}

	/**
	 * Makes a container and opens it.
	 *
	 * @param stateDirectory where the trust anchor keeps its files, and a medium that is a file
	 */
	static async create(
		geometry: Geometry,
		stateDirectory: string,
		{now = () => performance.now(), medium = 'block_ram'}: LocalDeviceOptions = {},
	): Promise<LocalDevice> {
		const device = new LocalDevice(geometry, stateDirectory, {now, medium});
		for (const name of Object.keys(device.#parts)) {
			await device.#start(name);
		}

		return device;
	}

	/** A client of the finished device. */
	connect(): Client<typeof block> {
		return this.#connect(block, 'superblock_control', 'client') as Client<typeof block>;
	}

	/** What a part tells `runtime status`. */
	status(name: string): Record<string, string | number> {
		return this.#running.get(name)?.status?.() ?? {};
	}

	forgetTraffic(): void {
		for (const traffic of this.traffic.values()) {
			Object.assign(traffic, {messageCount: 0, byteLength: 0, writtenByteLength: 0, extentCount: 0});
		}
	}

	/** Stops all parts, clients before servers. */
	async stop(): Promise<void> {
		for (const running of [...this.#running.values()].reverse()) {
			await running.stop?.();
		}
	}

	async #start(name: string): Promise<void> {
		const {component, config = {}, routes = {}} = this.#parts[name];
		const sessions = Object.fromEntries(
			Object.entries(routes).map(([label, server]) => [
				label,
				this.#connect(sessionOf(component.requires[label]), server, name),
			]),
		);
		const clientCounts = {cache: Object.values(this.#parts).filter(part => part.routes?.cache).length};
		const child = {
			name,
			leaseLimit,
			clientCounts,
			modulePath: '',
			config: {},
			cpuCount: availableParallelism(),
			environment: environmentServices,
		};
		const env = {
			...makeEnvironment(child, this.#stateDirectory, new LeasePool(leaseLimit), {
				log: () => undefined,
				claimDirectory: async () => 'held',
				secret: () => undefined,
				fail(reason) {
					throw new Error(reason);
				},
			}),
			now: this.#now,
		};
		this.#running.set(name, await component.start!({config: component.config.parse(config), sessions, env}));
	}

	#connect(session: Session, server: string, client: string): Client<Session> {
		const traffic = this.#trafficOf(`${client} > ${server}`);
		const handlers = this.#running.get(server)!.provides[session.name] as Handlers<Session>;
		return connectLocal(session, session === block ? countingExtents(handlers, traffic) : handlers, {
			context: {session: ++this.#lastSession, client},
			onBug(error) {
				throw error;
			},
			count(byteLength) {
				traffic.messageCount += 2;
				traffic.byteLength += byteLength;
			},
		});
	}

	#trafficOf(route: string): Traffic {
		const traffic = this.traffic.get(route) ?? {
			messageCount: 0,
			byteLength: 0,
			writtenByteLength: 0,
			extentCount: 0,
		};
		this.traffic.set(route, traffic);
		return traffic;
	}
}

/** Only the two operations that move data are looked at. */
function countingExtents(handlers: Handlers<Session>, traffic: Traffic): Handlers<Session> {
	const counted =
		(name: 'read' | 'write'): Handlers<Session>[string] =>
		(request, context) => {
			const {extents, data} = request as {extents: readonly number[]; data: Uint8Array};
			traffic.extentCount += extents.length / 2;
			traffic.writtenByteLength += name === 'write' ? data.length : 0;
			return handlers[name](request, context);
		};
	return {...handlers, read: counted('read'), write: counted('write')};
}
