/**
 * A key that several threads use at the same time. Each gets contexts of its own, which are memory of the process: a
 * pool thread is told where they lie and never holds the key. So all of them are wiped here, whatever became of the
 * threads.
 */
import type {CipherName} from '../sessions/cipher.js';
import {AesSuite, type AuthenticatedKey, type BlockRun, type CipherKey} from '../lib/crypto/cipher-suite.js';
import type {EvpGcmKey, EvpKey, EvpSuite} from '../lib/crypto/evp-suite.js';
import type {Direction} from './cipher-task.js';

/** What can be lent. */
export type LentKey = EvpKey | EvpGcmKey;

export abstract class SharedKey {
	readonly #own: LentKey;
	readonly #kinds: Readonly<Record<Direction, string>>;
	/** Made for other threads, and not with one of them now. */
	readonly #spare: LentKey[] = [];
	#lentCount = 0;

	constructor(own: LentKey, cipher: CipherName) {
		this.#own = own;
		this.#kinds = {seal: `${cipher}_seal`, open: `${cipher}_open`};
	}

	/** Cipher and direction: what costs the same. */
	kindOf(direction: Direction): string {
		return this.#kinds[direction];
	}

	/** Contexts for another thread, until they are given back. */
	lend(): LentKey {
		this.#lentCount++;
		return this.#spare.pop() ?? this.#own.copy();
	}

	/** The other thread does not use them any more. */
	giveBack(lent: LentKey): void {
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

class SharedCipherKey extends SharedKey implements CipherKey {
	readonly #cipher: EvpKey;

	constructor(own: EvpKey, cipher: CipherName) {
		super(own, cipher);
		this.#cipher = own;
	}

	encrypt(run: BlockRun): void {
		this.#cipher.encrypt(run);
	}

	decrypt(run: BlockRun): void {
		this.#cipher.decrypt(run);
	}
}

class SharedAuthenticatedKey extends SharedKey implements AuthenticatedKey {
	readonly #cipher: EvpGcmKey;

	constructor(own: EvpGcmKey, cipher: CipherName) {
		super(own, cipher);
		this.#cipher = own;
	}

	seal(run: BlockRun, labels: Uint8Array): void {
		this.#cipher.seal(run, labels);
	}

	open(run: BlockRun, labels: Uint8Array): number[] {
		return this.#cipher.open(run, labels);
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

	xts(key: Uint8Array): SharedCipherKey {
		return new SharedCipherKey(this.#suite.xts(key), 'aes-256-xts');
	}

	cbcEssiv(key: Uint8Array): SharedCipherKey {
		return new SharedCipherKey(this.#suite.cbcEssiv(key), 'aes-256-cbc-essiv');
	}

	gcm(key: Uint8Array, keyId: number): SharedAuthenticatedKey {
		return new SharedAuthenticatedKey(this.#suite.gcm(key, keyId), 'aes-256-gcm');
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		this.#suite.label(sealed, sealedOffset, count, labels, labelsOffset);
	}
}
