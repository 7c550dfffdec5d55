/**
 * How many blocks the keys of an authenticated cipher have sealed. Its nonces are random, so their number bounds how
 * likely two equal ones are (docs/crypto.md).
 *
 * Invariant: a secured superblock names at least as many blocks as its keys have sealed, also after a crash. So a share
 * is reserved in each superblock, and who wants more than that waits for the next one.
 */
import {SessionError} from '../../runtime/sdk/session.js';
import type {KeyId} from '../sessions/vocabulary.js';
import {isAuthenticated} from '../sessions/cipher.js';
import type {Superblock} from '../container/superblock.js';

/** Blocks that one key may seal (NIST SP 800-38D, section 8.3). */
export const sealedBlockCountMax = 2 ** 32;

/** Blocks reserved ahead, 4 GiB: so many are counted as sealed after a crash. */
const reservedBlockCount = 2 ** 20;

/** A batch that fails is sealed once more, piece by piece. */
const sealingsOfBlock = 2;

export class KeyUse {
	readonly #isCounted: boolean;
	#current: number;
	/** Undefined where there is no previous key. */
	#previous: number | undefined;
	/** What the secured superblock names. */
	#secured: {readonly current: number; readonly previous: number};

	#currentKeyId: KeyId;

	constructor({cipher, currentKey, previousKey, sealedBlockCounts = {current: 0, previous: 0}}: Pick<Superblock, 'cipher' | 'currentKey' | 'previousKey' | 'sealedBlockCounts'>) {
		this.#currentKeyId = currentKey.id;
		this.#isCounted = isAuthenticated(cipher);
		this.#current = sealedBlockCounts.current;
		this.#previous = previousKey && sealedBlockCounts.previous;
		this.#secured = sealedBlockCounts;
	}

	/** Blocks that the current key has sealed, at most. */
	get blockCount(): number {
		return this.#current;
	}

	/** Counts blocks about to be sealed, where enough are reserved; false where `admit` has to see to it. */
	tryAdmit(blockCount: number): boolean {
		if (!this.#isCounted) {
			return true;
		}

		const count = blockCount * sealingsOfBlock;
		if (!this.#isReserved(count)) {
			return false;
		}

		this.#count(count);
		return true;
	}

	/** Counts blocks about to be sealed; `secure` makes the next superblock, where less is reserved. @throws SessionError `no_space` */
	async admit(blockCount: number, secure: () => Promise<void>): Promise<void> {
		if (!this.#isCounted) {
			return;
		}

		const count = blockCount * sealingsOfBlock;
		const most = Math.max(this.#current, this.#previous ?? 0);
		if (most + count > sealedBlockCountMax) {
			throw new SessionError('no_space', `the key has sealed ${most} blocks, as many as is safe; writing goes on when a rekeying has ended`);
		}

		while (!this.#isReserved(count)) {
			await secure();
		}

		this.#count(count);
	}

	/** The superblock about to be secured, with a share for what will be sealed after it. Its current key may be a new one. */
	reserve(superblock: Superblock): Superblock {
		if (!this.#isCounted) {
			return superblock;
		}

		if (superblock.currentKey.id !== this.#currentKeyId) {
			this.#currentKeyId = superblock.currentKey.id;
			this.#previous = this.#current;
			this.#current = 0;
		}

		const reserved = (count: number) => Math.min(sealedBlockCountMax, count + reservedBlockCount);
		return {...superblock, sealedBlockCounts: {current: reserved(this.#current), previous: superblock.previousKey ? reserved(this.#previous ?? 0) : 0}};
	}

	noteSecured({previousKey, sealedBlockCounts = {current: 0, previous: 0}}: Superblock): void {
		this.#secured = sealedBlockCounts;
		if (!previousKey) {
			this.#previous = undefined;
		}
	}

	/** During a rekeying either key may be the one. */
	#count(count: number): void {
		this.#current += count;
		this.#previous = this.#previous === undefined ? undefined : this.#previous + count;
	}

	#isReserved(count: number): boolean {
		return this.#current + count <= this.#secured.current && (this.#previous === undefined || this.#previous + count <= this.#secured.previous);
	}
}
