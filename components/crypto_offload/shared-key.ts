/**
 * A key that several threads use at the same time. Each gets contexts of its own, which are memory of the process: a pool
 * thread is told where they lie and never holds the key. So all of them are wiped here, whatever became of the threads.
 */
import {AesSuite, type BlockRun, type PreparedKey} from '../sessions/cipher-suite.js';
import type {EvpKey, EvpSuite} from '../libcrypto/evp-suite.js';

export class SharedKey implements PreparedKey {
	readonly #own: EvpKey;
	/** Made for other threads, and not with one of them now. */
	readonly #spare: EvpKey[] = [];
	#lentCount = 0;

	constructor(own: EvpKey) {
		this.#own = own;
	}

	encrypt(run: BlockRun): void {
		this.#own.encrypt(run);
	}

	decrypt(run: BlockRun): void {
		this.#own.decrypt(run);
	}

	/** Contexts for another thread, until they are given back. */
	lend(): EvpKey {
		this.#lentCount++;
		return this.#spare.pop() ?? this.#own.copy();
	}

	/** The other thread does not use them any more: it has answered, or it is gone. */
	giveBack(lent: EvpKey): void {
		this.#lentCount--;
		this.#spare.push(lent);
	}

	wipe(): void {
		if (this.#lentCount > 0) {
			throw new Error('a key was wiped while another thread used it');
		}

		this.#own.wipe();
		for (const key of this.#spare.splice(0)) {
			key.wipe();
		}
	}
}

/** The ciphers of libcrypto with keys that can be shared. */
export class SharingSuite extends AesSuite {
	readonly name: string;
	readonly #suite: EvpSuite;

	constructor(suite: EvpSuite) {
		super();
		this.name = suite.name;
		this.#suite = suite;
	}

	xts(key: Uint8Array): SharedKey {
		return new SharedKey(this.#suite.xts(key));
	}

	cbcEssiv(key: Uint8Array): SharedKey {
		return new SharedKey(this.#suite.cbcEssiv(key));
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		this.#suite.label(sealed, sealedOffset, count, labels, labelsOffset);
	}
}
