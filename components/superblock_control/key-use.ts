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
import type {Superblock} from '../lib/format/superblock.js';

/** Blocks that one key may seal (NIST SP 800-38D, section 8.3). */
export const sealedBlockCountMax = 2 ** 32;

/** Blocks reserved ahead, 4 GiB: so many are counted as sealed after a crash. */
const reservedBlockCount = 2 ** 20;

/** A batch that fails is sealed once more, piece by piece. */
const sealingsOfBlock = 2;

/** Blocks that keys have sealed, at most. */
export interface SealedCounts {
	/** The current key. */
	readonly keyId: KeyId;
	readonly current: number;
	/** 0 where there is no previous key. */
	readonly previous: number;
}

/** What the keys of a superblock have sealed: a new current key nothing so far. */
export function sealedUnder(
	{currentKey, previousKey}: Superblock,
	{keyId, current, previous}: SealedCounts,
): {current: number; previous: number} {
	const isNewKey = currentKey.id !== keyId;
	return {current: isNewKey ? 0 : current, previous: previousKey ? (isNewKey ? current : previous) : 0};
}

/** The superblock about to be secured, with a share for what will be sealed after it. */
export function withReservedCounts(superblock: Superblock, counts: SealedCounts | undefined): Superblock {
	if (!counts) {
		return superblock;
	}

	const reserved = (count: number) => Math.min(sealedBlockCountMax, count + reservedBlockCount);
	const {current, previous} = sealedUnder(superblock, counts);
	return {
		...superblock,
		sealedBlockCounts: {current: reserved(current), previous: superblock.previousKey ? reserved(previous) : 0},
	};
}

export class KeyUse {
	readonly #isCounted: boolean;
	#current: number;
	/** Undefined where there is no previous key. */
	#previous: number | undefined;
	/** What the secured superblock names. */
	#secured: {readonly current: number; readonly previous: number};

	#currentKeyId: KeyId;

	constructor({
		cipher,
		currentKey,
		previousKey,
		sealedBlockCounts = {current: 0, previous: 0},
	}: Pick<Superblock, 'cipher' | 'currentKey' | 'previousKey' | 'sealedBlockCounts'>) {
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

	/**
	 * Counts blocks about to be sealed; `secure` makes the next superblock, where less is reserved. @throws
	 * SessionError `no_space`
	 */
	async admit(blockCount: number, secure: () => Promise<void>): Promise<void> {
		if (!this.#isCounted) {
			return;
		}

		const count = blockCount * sealingsOfBlock;
		const most = Math.max(this.#current, this.#previous ?? 0);
		if (most + count > sealedBlockCountMax) {
			throw new SessionError(
				'no_space',
				`the key has sealed ${most} blocks, as many as is safe; writing goes on when a rekeying has ended`,
			);
		}

		while (!this.#isReserved(count)) {
			await secure();
		}

		this.#count(count);
	}

	/** What the keys have sealed so far; undefined where that is not counted. */
	get counts(): SealedCounts | undefined {
		return this.#isCounted
			? {keyId: this.#currentKeyId, current: this.#current, previous: this.#previous ?? 0}
			: undefined;
	}

	/** The superblock about to be secured is this one; its current key may be a new one. */
	follow({currentKey}: Superblock): void {
		if (this.#isCounted && currentKey.id !== this.#currentKeyId) {
			this.#currentKeyId = currentKey.id;
			this.#previous = this.#current;
			this.#current = 0;
		}
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
		return (
			this.#current + count <= this.#secured.current &&
			(this.#previous === undefined || this.#previous + count <= this.#secured.previous)
		);
	}
}
