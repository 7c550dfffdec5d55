/** A component's environment of which the seed decides everything, and which finds out misuse of payload memory. */
import type {Environment, Lease, LogLevel} from '../../runtime/sdk/component.js';
import type {Random} from './random.js';
import type {Scheduler} from './scheduler.js';
import {SimulationFailure} from './simulation-failure.js';

/** What memory holds that was given back: whoever still reads it gets no sense. */
const poison = 0xdb;

/**
 * Buffers for reuse by length, all full of poison, whoever had them before: allocating megabytes for each short life
 * would cost the most time.
 */
const spareBuffers = new Map<number, Buffer[]>();

function takeBuffer(byteLength: number): Buffer {
	return spareBuffers.get(byteLength)?.pop() ?? Buffer.alloc(byteLength, poison);
}

function giveBackBuffer(buffer: Buffer): void {
	buffer.fill(poison);
	const spare = spareBuffers.get(buffer.length) ?? [];
	spare.push(buffer);
	spareBuffers.set(buffer.length, spare);
}

/** The time of day when a world begins, in milliseconds since 1970. */
export const simulatedStartTime = Date.UTC(2026, 0, 2, 3, 4, 5);

/** The component has ended itself. */
export class ComponentEnded extends Error {
	override readonly name = 'ComponentEnded';
}

export interface EnvironmentSetup {
	readonly name: string;
	readonly random: Random;
	readonly scheduler: Scheduler;
	readonly leaseLimit: number;
	readonly clientCounts: Readonly<Record<string, number>>;
	readonly onLog: (text: string, level: LogLevel) => void;
	readonly onFail: (error: ComponentEnded) => void;
}

interface Waiter {
	readonly byteLength: number;
	readonly resolve: (lease: Lease) => void;
}

export class SimulatedEnvironment implements Environment {
	readonly stateDirectory = '/nonexistent';
	readonly cpuCount = 2;
	readonly leaseLimit: number;
	readonly name: string;
	readonly #setup: EnvironmentSetup;
	readonly #leases = new Map<Lease, Buffer>();
	readonly #waiters: Waiter[] = [];
	#leasedByteLength = 0;

	constructor(setup: EnvironmentSetup) {
		this.#setup = setup;
		this.name = setup.name;
		this.leaseLimit = setup.leaseLimit;
	}

	get leaseCount(): number {
		return this.#leases.size;
	}

	/** The component has gone: its memory can be used again, unless somebody may still be at work on it. */
	abandon({isInUse}: {isInUse: boolean}): void {
		for (const buffer of isInUse ? [] : this.#leases.values()) {
			giveBackBuffer(buffer);
		}

		this.#leases.clear();
	}

	log(text: string, level: LogLevel = 'info'): void {
		this.#setup.onLog(text, level);
	}

	now(): number {
		return this.#setup.scheduler.nowMs;
	}

	timeOfDay(): number {
		return simulatedStartTime + this.#setup.scheduler.nowMs;
	}

	async outside<T>(work: Promise<T>): Promise<T> {
		return work;
	}

	async sleep(milliseconds: number): Promise<void> {
		return this.#setup.scheduler.sleep(milliseconds);
	}

	randomBytes(count: number): Uint8Array {
		return this.#setup.random.bytes(count);
	}

	fillRandom(bytes: Uint8Array): void {
		bytes.set(this.#setup.random.bytes(bytes.length));
	}

	variable(): undefined {
		return undefined;
	}

	secret(): undefined {
		return undefined;
	}

	dropGarbage(): void {
		// Nothing here is secret.
	}

	resolvePath(path: string): string {
		return path;
	}

	async claimDirectory(): Promise<'held'> {
		return 'held';
	}

	clientCount(service: string): number {
		return this.#setup.clientCounts[service] ?? 0;
	}

	lease(byteLength: number): Lease {
		if (this.#leasedByteLength + byteLength > this.leaseLimit) {
			throw new SimulationFailure(
				`${this.name} leases ${byteLength} bytes beyond its limit of ${this.leaseLimit}`,
			);
		}

		const bytes = takeBuffer(byteLength);
		const lease: Lease = {
			bytes,
			release: () => {
				this.#release(lease, bytes);
			},
		};
		this.#leasedByteLength += byteLength;
		this.#leases.set(lease, bytes);
		return lease;
	}

	async leaseWhenFree(byteLength: number): Promise<Lease> {
		if (byteLength > this.leaseLimit) {
			throw new SimulationFailure(
				`${this.name} can never lease ${byteLength} bytes, its limit is ${this.leaseLimit}`,
			);
		}

		if (this.#waiters.length === 0 && this.#leasedByteLength + byteLength <= this.leaseLimit) {
			return this.lease(byteLength);
		}

		return new Promise(resolve => {
			this.#waiters.push({byteLength, resolve});
		});
	}

	fail(reason: string): never {
		const error = new ComponentEnded(`${this.name}: ${reason}`);
		this.#setup.onFail(error);
		throw error;
	}

	#release(lease: Lease, bytes: Buffer): void {
		if (this.#leases.delete(lease)) {
			giveBackBuffer(bytes);
			this.#leasedByteLength -= bytes.length;
			while (
				this.#waiters.length > 0 &&
				this.#leasedByteLength + this.#waiters[0].byteLength <= this.leaseLimit
			) {
				const waiter = this.#waiters.shift();
				waiter?.resolve(this.lease(waiter.byteLength));
			}
		}
	}
}
