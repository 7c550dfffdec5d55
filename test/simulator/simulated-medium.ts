/**
 * A medium as unkind as a real one may be. Writes are visible at once but durable only after a sync; at a crash each
 * unsynced block is lost, kept or torn on its own. A block that is being written reads as old, new or torn. A write
 * that fails may have happened in part, whatever the reason: also where the host has no room for all of it.
 */
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import {writeDurably} from '../../components/lib/format/durable-write.js';
import {blockSize, type block} from '../../components/sessions/block.js';
import type {Random} from './random.js';
import {SimulationFailure} from './simulation-failure.js';

const sectorSize = 512;
const zeroBlock = Buffer.alloc(blockSize);

/** A block write that is not durable. */
interface UnsyncedWrite {
	readonly content: Buffer;
	/** False while the request has not been answered. */
	complete: boolean;
	/** A failed sync has dropped it: no later sync makes it durable. */
	readonly doomed: boolean;
}

/** Probabilities that a request fails. */
export interface MediumFaults {
	readonly read: number;
	readonly write: number;
	/** That the host has no room for a write. */
	readonly noSpace: number;
	readonly sync: number;
}

export const noFaults: MediumFaults = {read: 0, write: 0, noSpace: 0, sync: 0};

interface MediumContent {
	readonly durable?: ReadonlyMap<number, Buffer>;
	readonly unsynced?: ReadonlyMap<number, readonly UnsyncedWrite[]>;
	readonly allocated?: ReadonlySet<number>;
	readonly room?: number;
}

export class SimulatedMedium {
	blockCount: number;
	faults = noFaults;
	/** Counts everything that changes what a crash would leave. */
	changeCount = 0;
	faultCount = 0;
	/** What a block is that must not be written now, since a secured state refers to it. */
	ownerOf: (address: number) => string | undefined = () => undefined;
	/** Blocks that may still be written where none has been yet, or was cleared since: the room of the host. */
	room = Infinity;
	readonly #random: Random;
	/** Blocks that have room. */
	readonly #allocated: Set<number>;
	readonly #durable: Map<number, Buffer>;
	readonly #unsynced: Map<number, readonly UnsyncedWrite[]>;

	constructor(random: Random, blockCount: number, content: MediumContent = {}) {
		this.#random = random;
		this.blockCount = blockCount;
		this.room = content.room ?? Infinity;
		this.#allocated = new Set(content.allocated);
		this.#durable = new Map(content.durable);
		this.#unsynced = new Map(content.unsynced);
	}

	/** The block as a reader without any write under way sees it. Never change it. */
	content(address: number): Buffer {
		return this.#unsynced.get(address)?.at(-1)?.content ?? this.#durable.get(address) ?? zeroBlock;
	}

	/** Damages or replaces a block durably. */
	replace(address: number, content: Buffer): void {
		this.#unsynced.delete(address);
		this.#durable.set(address, content);
	}

	/** The medium as it is after a loss of power. */
	afterPowerLoss(random: Random): SimulatedMedium {
		const survivor = new SimulatedMedium(random, this.blockCount, {
			durable: this.#durable,
			allocated: this.#allocated,
			room: this.room,
		});
		const mood = random.pick(['any', 'any', 'any', 'lost', 'kept']);
		for (const [address, writes] of this.#unsynced) {
			let content = this.#durable.get(address) ?? zeroBlock;
			for (const write of writes) {
				const fate = write.doomed ? 'lost' : mood === 'any' ? random.pick(['lost', 'kept', 'torn']) : mood;
				content =
					fate === 'kept' ? write.content : fate === 'torn' ? torn(content, write.content, random) : content;
			}

			survivor.#durable.set(address, content);
		}

		return survivor;
	}

	/**
	 * The medium as it is after the process was killed: what was written stays visible, requests under way end anyhow.
	 */
	afterKill(random: Random): SimulatedMedium {
		const unsynced = new Map<number, UnsyncedWrite[]>();
		for (const [address, writes] of this.#unsynced) {
			let before = this.#durable.get(address) ?? zeroBlock;
			unsynced.set(
				address,
				writes.map(write => {
					const content = write.complete ? write.content : settled(before, write.content, random);
					before = content;
					return {...write, complete: true, content};
				}),
			);
		}

		return new SimulatedMedium(random, this.blockCount, {
			durable: this.#durable,
			unsynced,
			allocated: this.#allocated,
			room: this.room,
		});
	}

	/** An independent copy in which everything is durable. */
	copy(random: Random): SimulatedMedium {
		const durable = new Map(this.#durable);
		for (const address of this.#unsynced.keys()) {
			durable.set(address, this.content(address));
		}

		return new SimulatedMedium(random, this.blockCount, {durable});
	}

	handlers(step: () => Promise<void>): Handlers<typeof block> {
		return {
			geometry: () => ({blockCount: this.blockCount, writable: true, growable: true}),
			allocation: ({count}) => ({runs: [count, 0]}),
			read: async ({extents, data}) => {
				this.#failReadAtRandom();
				this.#each(extents, data, (address, part) => {
					part.set(this.#glimpse(address));
				});
				await step();
				return {};
			},
			write: async ({extents, data, durable}) => {
				const write = async () => {
					await this.#write(extents, data, step);
					return {};
				};
				return durable ? writeDurably(write, async () => this.#sync(step)) : write();
			},
			clear: async ({extents}) => {
				const blockCount = extents.reduce((sum, value, i) => (i % 2 === 1 ? sum + value : sum), 0);
				const zeroes = Buffer.alloc(blockCount * blockSize);
				await this.#write(extents, zeroes, step, false);
				this.#each(extents, zeroes, address => {
					this.room += this.#allocated.delete(address) ? 1 : 0;
				});
				return {};
			},
			allocate: ({extents}) => {
				for (let i = 0; i < extents.length; i += 2) {
					this.#takeRoom(extents[i], extents[i + 1]);
				}

				return {};
			},
			sync: async () => {
				await this.#sync(step);
				return {};
			},
			grow: ({blockCount}) => {
				this.blockCount = Math.max(this.blockCount, blockCount);
				return {};
			},
		};
	}

	async #write(
		extents: readonly number[],
		data: Uint8Array,
		step: () => Promise<void>,
		needsRoom = true,
	): Promise<void> {
		let fault = this.#writeFault();
		try {
			for (let i = 0; needsRoom && i < extents.length; i += 2) {
				this.#takeRoom(extents[i], extents[i + 1]);
			}
		} catch (error) {
			fault = error as SessionError;
		}

		if (fault && this.#random.chance(0.3)) {
			throw fault;
		}

		const writes: Array<{readonly address: number; readonly write: UnsyncedWrite}> = [];
		this.#each(extents, data, (address, part) => {
			const owner = this.ownerOf(address);
			// The same content once more does no harm, however it is torn.
			if (owner !== undefined && !this.content(address).equals(part)) {
				throw new SimulationFailure(
					`PBA ${address} is overwritten, though the secured state has there: ${owner}`,
				);
			}

			const before = this.#unsynced.get(address) ?? [];
			if (before.some(({complete}) => !complete)) {
				throw new SimulationFailure(`PBA ${address} is written twice at the same time`);
			}

			const write = {content: Buffer.from(part), complete: false, doomed: false};
			this.#unsynced.set(address, [...before, write]);
			writes.push({address, write});
		});
		this.changeCount++;
		await step();
		this.changeCount++;
		for (const {address, write} of writes) {
			write.complete = true;
			if (fault) {
				this.#spoil(address, write);
			}
		}

		if (fault) {
			throw fault;
		}
	}

	/** @throws SessionError where the host has not enough; a part may have been taken */
	#takeRoom(first: number, count: number): void {
		for (let address = first; address < first + count; address++) {
			if (!this.#allocated.has(address)) {
				if (this.room <= 0) {
					this.faultCount++;
					throw new SessionError('no_space', 'simulated host without room');
				}

				this.room--;
				this.#allocated.add(address);
			}
		}
	}

	/** Why a write is about to fail, if it is. */
	#writeFault(): SessionError | undefined {
		const code = this.#random.chance(this.faults.noSpace)
			? 'no_space'
			: this.#random.chance(this.faults.write)
				? 'device_failed'
				: undefined;
		this.faultCount += code ? 1 : 0;
		return code && new SessionError(code, `simulated write error ${code}`);
	}

	/** A failed write leaves each of its blocks old, new or torn. */
	#spoil(address: number, write: UnsyncedWrite): void {
		const writes = this.#unsynced.get(address) ?? [];
		const others = writes.filter(other => other !== write);
		const before = others.at(-1)?.content ?? this.#durable.get(address) ?? zeroBlock;
		this.#unsynced.set(address, [...others, {...write, content: settled(before, write.content, this.#random)}]);
	}

	async #sync(step: () => Promise<void>): Promise<void> {
		const covered = new Set(
			[...this.#unsynced.values()].flat().filter(({complete, doomed}) => complete && !doomed),
		);
		await step();
		this.changeCount++;
		const fails = this.#random.chance(this.faults.sync);
		for (const [address, writes] of this.#unsynced) {
			let left: UnsyncedWrite[] = [];
			for (const write of writes) {
				if (!covered.has(write)) {
					left.push(write);
				} else if (fails && this.#random.chance(0.5)) {
					left.push({...write, doomed: true});
				} else {
					this.#durable.set(address, write.content);
					left = [];
				}
			}

			if (left.length > 0) {
				this.#unsynced.set(address, left);
			} else {
				this.#unsynced.delete(address);
			}
		}

		if (fails) {
			this.faultCount++;
			throw new SessionError('device_failed', 'simulated sync error');
		}
	}

	/** What a read sees of a block that may be under way. */
	#glimpse(address: number): Buffer {
		const writes = this.#unsynced.get(address);
		const last = writes?.at(-1);
		if (!last || last.complete) {
			return this.content(address);
		}

		return settled(writes?.at(-2)?.content ?? this.#durable.get(address) ?? zeroBlock, last.content, this.#random);
	}

	#failReadAtRandom(): void {
		if (this.#random.chance(this.faults.read)) {
			this.faultCount++;
			throw new SessionError('device_failed', 'simulated read error');
		}
	}

	#each(extents: readonly number[], data: Uint8Array, visit: (address: number, part: Uint8Array) => void): void {
		let offset = 0;
		for (let i = 0; i < extents.length; i += 2) {
			for (let address = extents[i]; address < extents[i] + extents[i + 1]; address++) {
				if (!(address >= 0 && address < this.blockCount)) {
					throw new SimulationFailure(`PBA ${address} is accessed on a medium of ${this.blockCount} blocks`);
				}

				visit(address, data.subarray(offset, offset + blockSize));
				offset += blockSize;
			}
		}

		if (offset !== data.length) {
			throw new SimulationFailure(`${extents.join('+')} and ${data.length} bytes do not fit each other`);
		}
	}
}

function torn(before: Buffer, after: Buffer, random: Random): Buffer {
	const mixed = Buffer.from(before);
	for (let offset = 0; offset < blockSize; offset += sectorSize) {
		if (random.chance(0.5)) {
			after.copy(mixed, offset, offset, offset + sectorSize);
		}
	}

	return mixed;
}

function settled(before: Buffer, after: Buffer, random: Random): Buffer {
	const fate = random.pick(['old', 'new', 'torn']);
	return fate === 'old' ? before : fate === 'new' ? after : torn(before, after, random);
}
