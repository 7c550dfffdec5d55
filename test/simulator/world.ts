/**
 * One life of the device: the real components on a simulated medium and a simulated trust anchor, from their start to
 * a crash.
 */
import cacheComponent from '../../components/cache/component.js';
import freeTreeComponent from '../../components/free_tree/component.js';
import superblockControlComponent from '../../components/superblock_control/component.js';
import virtualBlockDeviceComponent from '../../components/virtual_block_device/component.js';
import {block, blockSize} from '../../components/sessions/block.js';
import {cache} from '../../components/sessions/cache.js';
import {crypto} from '../../components/sessions/crypto.js';
import {deviceControl} from '../../components/sessions/device-control.js';
import {freeTree} from '../../components/sessions/free-tree.js';
import {trustAnchor} from '../../components/sessions/trust-anchor.js';
import {virtualBlockDevice} from '../../components/sessions/virtual-block-device.js';
import type {Component, Running} from '../../runtime/sdk/component.js';
import type {Client, ClientContext, Handlers, Session} from '../../runtime/sdk/session.js';
import type {CryptoKind} from './crypto-kind.js';
import {type Random} from './random.js';
import {Scheduler} from './scheduler.js';
import type {SimulatedAnchor} from './simulated-anchor.js';
import {ComponentEnded, SimulatedEnvironment} from './simulated-environment.js';
import type {SimulatedMedium} from './simulated-medium.js';
import {connectSimulated} from './simulated-transport.js';
import type {Trace} from './trace.js';

const mebibyte = 2 ** 20;

export interface WorldSetup {
	readonly medium: SimulatedMedium;
	readonly anchor: SimulatedAnchor;
	readonly random: Random;
	readonly crypto: CryptoKind;
	/** Frames of 4096 bytes for each client of the cache. */
	readonly frameCount: number;
	/** Payload memory of the virtual block device, in bytes. */
	readonly leaseLimit: number;
	/** Attributes of `<create>`, where a container may be created. */
	readonly create?: Readonly<Record<string, string>>;
	/** True where payloads are copied between components, false where they are shared. */
	readonly copies: boolean;
	/** How long each step takes on the simulated clock. */
	readonly stepMs: number;
	/** Most blocks of one step of a rekeying, and most lowest blocks of one step of an extension. */
	readonly operationStep: number;
	/** Called between steps. */
	readonly eachTurn?: () => Promise<void>;
	/** Learns all steps and messages. */
	readonly trace?: Trace | undefined;
}

/** Servers of operations that go on step by step. */
interface SteppingHandlers {
	readonly extend?: (request: never, context: ClientContext) => unknown;
	readonly rekey?: (request: never, context: ClientContext) => unknown;
}

export class World {
	readonly scheduler: Scheduler;
	/** Warnings and errors that the components logged. */
	readonly log: string[] = [];
	readonly #setup: WorldSetup;
	readonly #environments: SimulatedEnvironment[] = [];
	#sessionCount = 0;
	#device: Client<typeof block> | undefined;
	#control: Client<typeof deviceControl> | undefined;
	#crypto: Client<typeof crypto> | undefined;
	#superblockControl: Running<Record<string, Session>> | undefined;

	private constructor(setup: WorldSetup) {
		this.#setup = setup;
		this.scheduler = new Scheduler(setup.random.fork(), setup.stepMs, setup.trace);
	}

	/** Starts everything. @throws StartError where the device refuses to open */
	static async open(setup: WorldSetup): Promise<World> {
		const world = new World(setup);
		// A real crypto server loads its library from outside of the simulated world.
		const cryptoHandlers = await setup.crypto.start(world.#environment('crypto', 16 * mebibyte));
		try {
			await world.run(world.#start(cryptoHandlers));
		} catch (error) {
			world.abandon();
			throw error;
		}

		return world;
	}

	get device(): Client<typeof block> {
		return this.#device!;
	}

	/** Another client of the crypto server. */
	get crypto(): Client<typeof crypto> {
		return this.#crypto!;
	}

	get control(): Client<typeof deviceControl> {
		return this.#control!;
	}

	/** Lets the world go on until `job` has ended. @throws ComponentEnded where a component gave up */
	async run<T>(job: Promise<T>): Promise<T> {
		return this.scheduler.run(job, this.#setup.eachTurn);
	}

	/** Orderly end. */
	async close(): Promise<void> {
		await this.run(this.#superblockControl!.stop!());
		this.abandon();
	}

	/** The end without a word. Nothing of this world may be used any more. */
	abandon(): void {
		this.scheduler.halt(new ComponentEnded('the world has ended'));
		for (const environment of this.#environments) {
			environment.abandon({isInUse: this.#setup.crypto.outlivesItsWorld});
		}
	}

	async #start(cryptoHandlers: Handlers<typeof crypto>): Promise<void> {
		const {medium, anchor, frameCount, leaseLimit, create, crypto: kind} = this.#setup;
		const {step} = this.scheduler;
		const onMedium = () => this.#connect(block, medium.handlers(step));
		const onCrypto = () => this.#connect(crypto, cryptoHandlers);
		const cacheConfig = {size: `${2 * frameCount * blockSize}`};
		const cacheRunning = await this.#component(
			'cache',
			cacheComponent,
			cacheConfig,
			{block: onMedium(), crypto: onCrypto()},
			2 * frameCount * blockSize + mebibyte,
		);
		const onCache = () => this.#connect(cache, cacheRunning.provides.cache as unknown as Handlers<typeof cache>);
		const freeRunning = await this.#component('free_tree', freeTreeComponent, {}, {cache: onCache()}, mebibyte);
		const onFreeTree = () =>
			this.#connect(
				freeTree,
				this.#inSmallSteps(freeRunning.provides.free_tree as unknown as Handlers<typeof freeTree>),
			);
		const deviceSessions = {cache: onCache(), block: onMedium(), crypto: onCrypto(), free_tree: onFreeTree()};
		const deviceRunning = await this.#component(
			'virtual_block_device',
			virtualBlockDeviceComponent,
			{},
			deviceSessions,
			leaseLimit,
		);
		const controlRunning = await this.#component(
			'superblock_control',
			superblockControlComponent,
			create ? {create: [create]} : {},
			{
				virtual_block_device: this.#connect(
					virtualBlockDevice,
					this.#inSmallSteps(
						deviceRunning.provides.virtual_block_device as unknown as Handlers<typeof virtualBlockDevice>,
					),
				),
				free_tree: onFreeTree(),
				block: onMedium(),
				trust_anchor: this.#connect(trustAnchor, anchor.handlers(step, kind.sealEnvelope)),
				crypto: onCrypto(),
			},
			mebibyte,
		);
		this.#superblockControl = controlRunning;
		this.#crypto = onCrypto();
		this.#device = this.#connect(block, controlRunning.provides.block as unknown as Handlers<typeof block>);
		this.#control = this.#connect(
			deviceControl,
			controlRunning.provides.device_control as unknown as Handlers<typeof deviceControl>,
		);
	}

	/** Cuts the steps of rekeying and extension, so that even a small container takes many. */
	#inSmallSteps<H extends SteppingHandlers>(handlers: H): H {
		const {operationStep} = this.#setup;
		return {
			...handlers,
			...(handlers.extend && {
				extend: (request: {stepCount: number}, context: ClientContext) =>
					handlers.extend!(
						{...request, stepCount: Math.min(request.stepCount, operationStep)} as never,
						context,
					),
			}),
			...(handlers.rekey && {
				rekey: (request: {blockCount: number}, context: ClientContext) =>
					handlers.rekey!(
						{...request, blockCount: Math.min(request.blockCount, operationStep)} as never,
						context,
					),
			}),
		};
	}

	async #component(
		name: string,
		component: Component,
		config: unknown,
		sessions: Readonly<Record<string, unknown>>,
		leaseLimit: number,
	): Promise<Running<Record<string, Session>>> {
		return component.start!({
			config: component.config.parse(config),
			sessions: sessions as Record<string, Client<Session>>,
			env: this.#environment(name, leaseLimit),
		});
	}

	#environment(name: string, leaseLimit: number): SimulatedEnvironment {
		const environment = new SimulatedEnvironment({
			name,
			leaseLimit,
			random: this.#setup.random.fork(),
			scheduler: this.scheduler,
			clientCounts: {cache: 2},
			onLog: (text, level) => {
				this.#setup.trace?.note('log', name, level, text);
				if (level !== 'info') {
					this.log.push(`${name}: ${text}`);
				}
			},
			onFail: error => {
				this.scheduler.halt(error);
			},
		});
		this.#environments.push(environment);
		return environment;
	}

	#connect<S extends Session>(session: S, handlers: Handlers<S>): Client<S> {
		this.#sessionCount++;
		return connectSimulated(session, handlers, {
			context: {session: this.#sessionCount, client: `client ${this.#sessionCount}`},
			copies: this.#setup.copies,
			trace: this.#setup.trace,
			step: this.scheduler.step,
			// Whatever is no answer of a session would end the component: a bug, or its own decision.
			onBug: error => {
				this.scheduler.halt(error instanceof Error ? error : new Error(String(error)));
			},
		});
	}
}
