/** The world of one component under test: a clock that moves when told, a log to read, randomness as chosen. */
import {randomBytes} from 'node:crypto';
import {existsSync} from 'node:fs';
import {isAbsolute, join} from 'node:path';
import type {Claim, Environment, LogLevel} from '../../runtime/sdk/component.js';

export interface LoggedLine {
	readonly text: string;
	readonly level: LogLevel;
}

interface Sleeper {
	readonly until: number;
	readonly wake: () => void;
}

export interface EnvironmentOptions {
	readonly name?: string;
	readonly stateDirectory?: string;
	readonly variables?: Readonly<Record<string, string>>;
	readonly randomBytes?: (count: number) => Uint8Array;
	readonly leaseLimit?: number;
	/** Without it the component is alone in the world, and those before it have ended. */
	readonly claims?: {claim(path: string): Promise<Claim>; releaseAll(): void};
}

export class TestEnvironment implements Environment {
	readonly name: string;
	readonly stateDirectory: string;
	readonly leaseLimit: number;
	readonly cpuCount = 1;
	readonly logged: LoggedLine[] = [];
	leasedByteLength = 0;
	/** The time of day when the clock began to move, in milliseconds since 1970. */
	startTime = Date.UTC(2026, 0, 2, 3, 4, 5);
	readonly claims: EnvironmentOptions['claims'];
	readonly variables: Readonly<Record<string, string>>;
	readonly #randomBytes: (count: number) => Uint8Array;
	#now = 0;
	#sleepers: Sleeper[] = [];

	constructor(options: EnvironmentOptions = {}) {
		this.name = options.name ?? 'component';
		this.stateDirectory = options.stateDirectory ?? '/nonexistent';
		this.leaseLimit = options.leaseLimit ?? 64 * 2 ** 20;
		this.variables = options.variables ?? {};
		this.claims = options.claims;
		this.#randomBytes = options.randomBytes ?? randomBytes;
	}

	log(text: string, level: LogLevel = 'info') {
		this.logged.push({text, level});
	}

	now() {
		return this.#now;
	}

	timeOfDay() {
		return this.startTime + this.#now;
	}

	/** How many jobs sleep now. */
	get sleeperCount(): number {
		return this.#sleepers.length;
	}

	async outside<T>(work: Promise<T>): Promise<T> {
		return work;
	}

	async sleep(milliseconds: number) {
		await new Promise<void>(resolve => {
			this.#sleepers.push({until: this.#now + milliseconds, wake: resolve});
		});
	}

	/** Lets time pass and wakes whoever has slept long enough. */
	advance(milliseconds: number) {
		this.#now += milliseconds;
		const due = this.#sleepers.filter(({until}) => until <= this.#now);
		this.#sleepers = this.#sleepers.filter(({until}) => until > this.#now);
		for (const {wake} of due) {
			wake();
		}
	}

	randomBytes(count: number) {
		return this.#randomBytes(count);
	}

	fillRandom(bytes: Uint8Array) {
		bytes.set(this.#randomBytes(bytes.length));
	}

	variable(name: string) {
		return this.variables[name];
	}

	secret(name: string) {
		const text = this.variables[name];
		return text === undefined ? undefined : Buffer.from(text);
	}

	dropGarbage() {
		// Nothing here is secret.
	}

	resolvePath(path: string) {
		return isAbsolute(path) ? path : join(this.stateDirectory, path);
	}

	async claimDirectory(path: string): Promise<Claim> {
		return this.claims?.claim(path) ?? (existsSync(path) ? 'held' : 'missing');
	}

	lease(byteLength: number) {
		if (this.leasedByteLength + byteLength > this.leaseLimit) {
			throw new Error(`leases beyond the limit of ${this.leaseLimit} bytes`);
		}

		this.leasedByteLength += byteLength;
		return {
			bytes: Buffer.alloc(byteLength),
			release: () => {
				this.leasedByteLength -= byteLength;
			},
		};
	}

	async leaseWhenFree(byteLength: number) {
		return this.lease(byteLength);
	}

	clientCount() {
		return 1;
	}

	fail(reason: string): never {
		throw new Error(reason);
	}
}
