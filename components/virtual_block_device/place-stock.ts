/**
 * Places for changed blocks, taken from the free tree ahead of their use, so that a small write waits for no exchange.
 * What they replace is booked later, together: at the latest before anything needs the pool's books to be exact.
 *
 * The free tree hands out none of these places again before the generation is secured. So a crash, and whoever forgets
 * the stock, loses nothing: its places are spare again then. It never outlives the generation it was taken in.
 */
import {SessionError, isSessionError} from '../../runtime/sdk/session.js';
import type {Generation, KeyId, Pba, Vba} from '../sessions/vocabulary.js';
import {Mutex} from '../lib/sync/mutex.js';
import {exchangeItemLength} from '../sessions/free-tree.js';
import type {Device} from './device.js';

/** New places, and the pool entry behind each. */
export interface Places {
	readonly addresses: Pba[];
	readonly leaves: Vba[];
}

/** Places that are kept at the most; twice as many with each filling, and half as many once a state was stored. */
const sizeMax = 256;
const sizeMin = 16;

/** A batch that needs more of the largest stock than this part has an exchange of its own. */
const batchPart = 1 / 2;

/** A place that was used, and the block that it has replaced. */
interface Use {
	readonly address: Pba;
	readonly replaced: Pba;
	readonly generation: Generation;
	readonly lowestVba: Vba;
	readonly keyId: KeyId;
}

export class PlaceStock {
	readonly #device: Device;
	/** Calls of the free tree about places taken ahead, one after another. */
	readonly #mutex = new Mutex('places ahead');
	/** What is left, from `#next` on. */
	#places: Places = {addresses: [], leaves: []};
	#next = 0;
	/** Uses that the free tree does not know of, by pool entry. */
	readonly #unbooked = new Map<Vba, Use>();
	/** So many there are after a filling. */
	#size = 0;
	#isFilling = false;
	/** The pool gave less than it was asked for, or failed: it is not asked again before a state was stored. */
	#isShort = false;

	constructor(device: Device) {
		this.#device = device;
	}

	get count(): number {
		return this.#places.leaves.length - this.#next;
	}

	/** Places for `items`, as `exchange` of the free tree takes them; undefined where there are too few. */
	take(items: readonly number[], keyId: KeyId): Places | undefined {
		const count = items.length / exchangeItemLength;
		if (count > sizeMax * batchPart) {
			return undefined;
		}

		if (count > this.count) {
			this.#fillSoon();
			return undefined;
		}

		const end = this.#next + count;
		const taken = {
			addresses: this.#places.addresses.slice(this.#next, end),
			leaves: this.#places.leaves.slice(this.#next, end),
		};
		this.#next = end;
		for (let i = 0, item = 0; i < count; i++, item += exchangeItemLength) {
			this.#unbooked.set(taken.leaves[i], {
				address: taken.addresses[i],
				replaced: items[item],
				generation: items[item + 1],
				lowestVba: items[item + 2],
				keyId,
			});
		}

		if (this.count < this.#size / 2) {
			this.#fillSoon();
		}

		return taken;
	}

	/** An exchange of the free tree, which has all that is left where it runs short. @throws SessionError */
	async exchange(items: number[], keyId: KeyId, {relief}: {readonly relief: boolean}): Promise<Places> {
		const {free_tree: freeTree} = this.#device.servers;
		const request = {items, keyId, reserved: true, ...(relief && {relief: true as const})};
		try {
			return await freeTree.exchange(request);
		} catch (error) {
			if (isSessionError(error) && error.code === 'no_space' && (await this.giveBack())) {
				return freeTree.exchange(request);
			}

			throw error;
		}
	}

	/** Gives the pool places back that were taken or exchanged in vain. */
	async undo({addresses, leaves}: Places): Promise<void> {
		await this.#mutex.run(async () => {
			for (const leaf of leaves) {
				this.#unbooked.delete(leaf);
			}

			await this.#device.servers.free_tree.restore({leaves, addresses});
		});
	}

	/** Makes the pool's books say what was used up to now. @throws SessionError */
	async book(): Promise<void> {
		await this.#mutex.run(async () => this.#book());
	}

	/**
	 * The same, and the pool gets back what was not used. Replies whether there was any. With no other write under way,
	 * or inside a placement. @throws SessionError
	 */
	async giveBack(): Promise<boolean> {
		return this.#mutex.run(async () => {
			await this.#book();
			const places = {
				addresses: this.#places.addresses.slice(this.#next),
				leaves: this.#places.leaves.slice(this.#next),
			};
			this.#empty();
			if (places.leaves.length === 0) {
				return false;
			}

			try {
				await this.#device.servers.free_tree.restore({...places, isNext: true});
				return true;
			} catch (error) {
				// Then they are spare once this generation is secured.
				requireSessionError(error);
				return false;
			}
		});
	}

	/** The generation has ended, with everything given back. */
	noteStored(): void {
		this.#isShort = false;
		// The next filling doubles it.
		this.#size = Math.floor(this.#size / 4);
	}

	/** Forgets everything, once what is being filled has ended: the pool is about to start over. */
	async forget(): Promise<void> {
		await this.#mutex.run(async () => {
			this.#empty();
			this.#unbooked.clear();
			this.#isShort = false;
			this.#size = 0;
		});
	}

	#empty(): void {
		this.#places = {addresses: [], leaves: []};
		this.#next = 0;
	}

	/** Fills the stock beside the writes. */
	#fillSoon(): void {
		if (this.#isFilling || this.#isShort) {
			return;
		}

		this.#isFilling = true;
		this.#mutex
			.run(async () => this.#fill())
			.catch((error: unknown) => {
				// Whoever needs the pool next meets the same.
				requireSessionError(error);
				this.#isShort = true;
			})
			.finally(() => {
				this.#isFilling = false;
			})
			.catch((error: unknown) => {
				this.#device.env.fail(error instanceof Error ? error.message : String(error));
			});
	}

	async #fill(): Promise<void> {
		await this.#book();
		this.#size = Math.min(sizeMax, Math.max(sizeMin, this.#size * 2));
		const count = this.#size - this.count;
		const {addresses, leaves} = await this.#device.servers.free_tree.take_ahead({count});
		this.#isShort = leaves.length < count;
		// Writes have taken some meanwhile.
		this.#places = {
			addresses: [...this.#places.addresses.slice(this.#next), ...addresses],
			leaves: [...this.#places.leaves.slice(this.#next), ...leaves],
		};
		this.#next = 0;
	}

	async #book(): Promise<void> {
		if (this.#unbooked.size === 0) {
			return;
		}

		const uses = [...this.#unbooked];
		await this.#device.servers.free_tree.book({
			items: uses.flatMap(([, {address, replaced, generation, lowestVba, keyId}]) => [
				address,
				replaced,
				generation,
				lowestVba,
				keyId,
			]),
			leaves: uses.map(([leaf]) => leaf),
		});
		for (const [leaf] of uses) {
			this.#unbooked.delete(leaf);
		}
	}
}

function requireSessionError(error: unknown): asserts error is SessionError {
	if (!(error instanceof SessionError)) {
		throw error;
	}
}
