/**
 * Payload memory of all connections, divided so that none of them waits for another one. Each connection has a reserve
 * of its own; what is left is common, and its last part is for small requests only. Who does not take replies gets
 * nothing of what is common. A request that finds no common memory makes do with the reserve, in pieces.
 *
 * Invariant: what all connections hold together never exceeds the component's share of memory.
 */
import type {Environment, Lease} from '../../runtime/sdk/component.js';
import {
	connectionCountMax,
	firstWindowMin,
	firstWindowPart,
	lastWindowPart,
	reserveByteLengthMax,
	reservePart,
	smallByteLengthMax,
	smallRoomPart,
	unsentByteLengthMax,
} from './client-limits.js';

/** Leases are counted in powers of two from here on, as the environment counts them. */
const classSizeMin = 4096;

/** What a lease of that many bytes counts for. */
function classSizeOf(byteLength: number): number {
	return byteLength <= classSizeMin ? classSizeMin : 2 ** (32 - Math.clz32(byteLength - 1));
}

function powerOfTwoBelow(value: number): number {
	return 2 ** Math.floor(Math.log2(value));
}

/** How the memory is divided, in bytes. */
interface Division {
	readonly reserve: number;
	readonly smallRoom: number;
	readonly firstWindow: number;
	readonly lastWindow: number;
}

export class PayloadMemory {
	readonly division: Division;
	readonly #env: Pick<Environment, 'lease'>;
	#commonFree: number;
	readonly #waiting = new Set<PayloadAccount>();

	/** @param taken bytes that the component has leased for something else */
	constructor(env: Pick<Environment, 'lease' | 'leaseLimit'>, taken: number) {
		const limit = env.leaseLimit - taken;
		const reserve = Math.max(
			classSizeMin,
			Math.min(reserveByteLengthMax, powerOfTwoBelow(limit / reservePart / connectionCountMax)),
		);
		this.#env = env;
		this.#commonFree = limit - reserve * connectionCountMax;
		this.division = {
			reserve,
			smallRoom: this.#commonFree / smallRoomPart,
			firstWindow: Math.max(firstWindowMin, limit / firstWindowPart),
			lastWindow: limit / lastWindowPart,
		};
	}

	/** Bytes of the largest request that fits at once while nobody else needs memory, a power of two. */
	get requestByteLengthMax(): number {
		return powerOfTwoBelow(this.#commonFree - this.division.smallRoom);
	}

	account(): PayloadAccount {
		return new PayloadAccount(this);
	}

	/** Whether that many common bytes are free for a lease of `size`. */
	hasCommon(byteLength: number, size: number): boolean {
		return (
			byteLength <= (size <= smallByteLengthMax ? this.#commonFree : this.#commonFree - this.division.smallRoom)
		);
	}

	take(byteLength: number, commonByteLength: number): Lease {
		this.#commonFree -= commonByteLength;
		return this.#env.lease(byteLength);
	}

	giveBack(commonByteLength: number): void {
		this.#commonFree += commonByteLength;
		if (commonByteLength > 0 && this.#waiting.size > 0) {
			for (const account of [...this.#waiting]) {
				account.look();
			}
		}
	}

	/** The account looks again whenever common memory comes back, until it waits no more. */
	setWaiting(account: PayloadAccount, waits: boolean): void {
		if (waits) {
			this.#waiting.add(account);
		} else {
			this.#waiting.delete(account);
		}
	}
}

/** Somebody who waits for a lease of that size. */
interface Waiter {
	readonly size: number;
	readonly wake: () => void;
}

/** What one connection holds. */
export class PayloadAccount {
	readonly #memory: PayloadMemory;
	#heldByteLength = 0;
	/** Bytes of replies that the client has not taken. */
	#unsentByteLength = 0;
	/** What the connection may hold in all; it grows with what the client takes. */
	#window: number;
	#waiters: Waiter[] = [];

	constructor(memory: PayloadMemory) {
		this.#memory = memory;
		this.#window = memory.division.firstWindow;
	}

	/** Bytes that can be leased at once where the connection holds nothing, whatever others do. */
	get reserve(): number {
		return this.#memory.division.reserve;
	}

	get isEmpty(): boolean {
		return this.#heldByteLength === 0;
	}

	/** Undefined where there is none now. */
	tryLease(byteLength: number): Lease | undefined {
		const size = classSizeOf(byteLength);
		if (!this.#allows(size)) {
			return undefined;
		}

		const before = this.#commonByteLength;
		this.#heldByteLength += size;
		return this.#memory.take(byteLength, this.#commonByteLength - before);
	}

	/** Every lease is given back here, and not by itself. */
	release(lease: Lease): void {
		this.discharge(this.exchange(lease));
	}

	/** Gives back the lease; what it counted for, the result, stays taken for a copy of its content. */
	exchange(lease: Lease): number {
		const size = classSizeOf(lease.bytes.length);
		lease.release();
		return size;
	}

	discharge(size: number): void {
		if (size > 0) {
			const before = this.#commonByteLength;
			this.#heldByteLength -= size;
			this.#memory.giveBack(before - this.#commonByteLength);
			this.look();
		}
	}

	/** Resolves when a lease of that many bytes may have become possible, or the connection holds nothing any more. */
	async free(byteLength: number): Promise<void> {
		await new Promise<void>(wake => {
			this.#waiters.push({size: classSizeOf(byteLength), wake});
			this.#memory.setWaiting(this, true);
			this.look();
		});
	}

	/** Replies of so many bytes wait for the client. */
	queued(byteLength: number): void {
		this.#unsentByteLength += byteLength;
	}

	/** The client has taken replies of so many bytes. */
	taken(byteLength: number): void {
		this.#unsentByteLength -= byteLength;
		this.#window = Math.min(this.#memory.division.lastWindow, this.#window + byteLength);
		this.look();
	}

	/** Wakes who waits for memory, where there is some. */
	look(): void {
		if (this.#waiters.length === 0) {
			return;
		}

		const waiters = this.#waiters;
		this.#waiters = waiters.filter(({size}) => !this.isEmpty && !this.#allows(size));
		this.#memory.setWaiting(this, this.#waiters.length > 0);
		for (const waiter of waiters) {
			if (!this.#waiters.includes(waiter)) {
				waiter.wake();
			}
		}
	}

	/** The part of what is held that the reserve does not cover. */
	get #commonByteLength(): number {
		return Math.max(0, this.#heldByteLength - this.#memory.division.reserve);
	}

	#allows(size: number): boolean {
		const held = this.#heldByteLength + size;
		const common = Math.max(0, held - this.#memory.division.reserve) - this.#commonByteLength;
		if (common === 0) {
			return true;
		}

		return (
			this.#unsentByteLength < unsentByteLengthMax &&
			(held <= this.#window || this.isEmpty) &&
			this.#memory.hasCommon(common, size)
		);
	}
}
