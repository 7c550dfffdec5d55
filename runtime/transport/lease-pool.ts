/** Payload memory of one component: leases in size classes, cut from arenas, bounded by the component's share. */
import type {Lease} from '../sdk/component.js';
import {makeArena, retireArena} from './arena.js';

/** Leases are rounded up to a power of two from here ... */
const classSizeMin = 4096;
/** ... to here; larger ones get an arena of just their size. */
const classSizeMax = 32 * 2 ** 20;
/** Small classes share arenas of this size. Arenas outgrow the limit by at most one of these per class. */
const arenaSizeMin = 2 ** 20;

interface Arena {
	readonly memory: SharedArrayBuffer;
	readonly slotCount: number;
	freeCount: number;
}

interface Slot {
	readonly arena: Arena;
	readonly size: number;
	readonly bytes: Buffer;
	/** The view given out last: most leases of a slot are of the same length. */
	view: Buffer;
}

interface Waiter {
	readonly byteLength: number;
	readonly resolve: (lease: Lease) => void;
}

class SlotLease implements Lease {
	readonly bytes: Buffer;
	readonly #pool: LeasePool;
	#slot: Slot | undefined;

	constructor(pool: LeasePool, slot: Slot, byteLength: number) {
		if (slot.view.length !== byteLength) {
			slot.view = slot.bytes.subarray(0, byteLength);
		}

		this.bytes = slot.view;
		this.#pool = pool;
		this.#slot = slot;
	}

	release(): void {
		const slot = this.#slot;
		if (slot) {
			this.#slot = undefined;
			this.#pool.takeBack(slot);
		}
	}
}

function classSizeOf(byteLength: number): number {
	if (byteLength > classSizeMax) {
		return Math.ceil(byteLength / classSizeMin) * classSizeMin;
	}

	return byteLength <= classSizeMin ? classSizeMin : 2 ** (32 - Math.clz32(byteLength - 1));
}

export class LeasePool {
	readonly limit: number;
	#usedBytes = 0;
	#arenaBytes = 0;
	readonly #free = new Map<number, Slot[]>();
	readonly #waiters: Waiter[] = [];

	/** @param limit bytes that may be leased at once, counted in whole size classes */
	constructor(limit: number) {
		this.limit = limit;
	}

	get usedBytes(): number {
		return this.#usedBytes;
	}

	/** Bytes of memory that it keeps, leased or for later. */
	get arenaBytes(): number {
		return this.#arenaBytes;
	}

	/** @throws RangeError where the limit does not allow it now */
	lease(byteLength: number): Lease {
		const size = classSizeOf(byteLength);
		if (this.#usedBytes + size > this.limit) {
			throw new RangeError(
				`${byteLength} bytes of payload memory beside ${this.#usedBytes} in use exceed the component's share of ${this.limit}`,
			);
		}

		return this.#take(size, byteLength);
	}

	/** Resolves in the order of the calls, as soon as the limit allows. */
	async leaseWhenFree(byteLength: number): Promise<Lease> {
		const size = classSizeOf(byteLength);
		if (size > this.limit) {
			throw new RangeError(
				`${byteLength} bytes of payload memory are more than the component's whole share of ${this.limit}`,
			);
		}

		if (this.#waiters.length === 0 && this.#usedBytes + size <= this.limit) {
			return this.#take(size, byteLength);
		}

		return new Promise(resolve => {
			this.#waiters.push({byteLength, resolve});
		});
	}

	takeBack(slot: Slot): void {
		this.#usedBytes -= slot.size;
		slot.arena.freeCount++;
		this.#freeSlots(slot.size).push(slot);
		this.#serveWaiters();
	}

	#serveWaiters(): void {
		for (let waiter = this.#waiters.at(0); waiter; waiter = this.#waiters.at(0)) {
			const size = classSizeOf(waiter.byteLength);
			if (this.#usedBytes + size > this.limit) {
				return;
			}

			this.#waiters.shift();
			waiter.resolve(this.#take(size, waiter.byteLength));
		}
	}

	#take(size: number, byteLength: number): Lease {
		const free = this.#freeSlots(size);
		if (free.length === 0) {
			this.#addArena(size, free);
		}

		const slot = free.pop()!;
		slot.arena.freeCount--;
		this.#usedBytes += size;
		return new SlotLease(this, slot, byteLength);
	}

	#freeSlots(size: number): Slot[] {
		let slots = this.#free.get(size);
		if (!slots) {
			slots = [];
			this.#free.set(size, slots);
		}

		return slots;
	}

	#addArena(size: number, free: Slot[]): void {
		const byteLength = Math.max(size, arenaSizeMin);
		if (this.#arenaBytes + byteLength > this.limit) {
			this.#retireUnused();
		}

		const slotCount = Math.floor(byteLength / size);
		const arena: Arena = {memory: makeArena(byteLength), slotCount, freeCount: slotCount};
		this.#arenaBytes += byteLength;
		for (let index = slotCount - 1; index >= 0; index--) {
			const bytes = Buffer.from(arena.memory, index * size, size);
			free.push({arena, size, bytes, view: bytes});
		}
	}

	/** Gives up every arena without a lease, so that one class's memory can serve another. */
	#retireUnused(): void {
		const retired = new Set<Arena>();
		for (const slots of this.#free.values()) {
			for (const slot of slots.splice(0)) {
				if (slot.arena.freeCount === slot.arena.slotCount) {
					retired.add(slot.arena);
				} else {
					slots.push(slot);
				}
			}
		}

		for (const {memory} of retired) {
			this.#arenaBytes -= memory.byteLength;
			retireArena(memory);
		}
	}
}
