/**
 * The ciphers through libcrypto, with one context a key and direction that is kept: setting a context up costs several
 * times as much as encrypting a block.
 */
import {createHash} from 'node:crypto';
import {labelLength, nonceLength, tagLength} from '../../sessions/cipher.js';
import {AesSuite, type AuthenticatedKey, type BlockRun, type CipherKey, type PreparedKey} from './cipher-suite.js';
import {blockSize} from '../../sessions/vocabulary.js';
import type {Address, Libcrypto} from './libcrypto.js';
import {CipherContext, present, Scratch} from './cipher-context.js';

/** Where the contexts of a key lie: memory of the process, so that any of its threads can use them. */
export interface KeyContexts {
	readonly encryption: Address;
	readonly decryption: Address;
	readonly ivs: Address | undefined;
	/** Of an authenticated key. */
	readonly keyId: number | undefined;
}

/** A key, for one thread at a time. */
export class EvpKey implements CipherKey {
	readonly #libcrypto: Libcrypto;
	readonly #scratch: Scratch;
	readonly #encryption: CipherContext;
	readonly #decryption: CipherContext;
	readonly #ivs: CipherContext | undefined;

	constructor(
		libcrypto: Libcrypto,
		scratch: Scratch,
		contexts: {encryption: CipherContext; decryption: CipherContext; ivs?: CipherContext},
	) {
		this.#libcrypto = libcrypto;
		this.#scratch = scratch;
		this.#encryption = contexts.encryption;
		this.#decryption = contexts.decryption;
		this.#ivs = contexts.ivs;
	}

	/** For `EvpSuite.borrow` on another thread. */
	get contexts(): KeyContexts {
		return {
			encryption: this.#encryption.address,
			decryption: this.#decryption.address,
			ivs: this.#ivs?.address,
			keyId: undefined,
		};
	}

	/** The same key, to be used on another thread at the same time; it is wiped on its own. */
	copy(): EvpKey {
		return new EvpKey(this.#libcrypto, this.#scratch, {
			encryption: this.#encryption.copy(),
			decryption: this.#decryption.copy(),
			ivs: this.#ivs?.copy(),
		});
	}

	encrypt(run: BlockRun): void {
		const {addressOf} = this.#libcrypto;
		this.#prepareIvs(run);
		this.#encryption.processBlocks(
			addressOf(run.sealed) + run.sealedOffset,
			addressOf(run.plain) + run.plainOffset,
			run.count,
		);
	}

	decrypt(run: BlockRun): void {
		const {addressOf} = this.#libcrypto;
		this.#prepareIvs(run);
		this.#decryption.processBlocks(
			addressOf(run.plain) + run.plainOffset,
			addressOf(run.sealed) + run.sealedOffset,
			run.count,
		);
	}

	wipe(): void {
		this.#encryption.free();
		this.#decryption.free();
		this.#ivs?.free();
	}

	#prepareIvs(run: BlockRun): void {
		this.#scratch.fill(run);
		this.#ivs?.processTweaks(run.count);
	}
}

/** An authenticated key, for one thread at a time. */
export class EvpGcmKey implements AuthenticatedKey {
	readonly #libcrypto: Libcrypto;
	readonly #scratch: Scratch;
	readonly #encryption: CipherContext;
	readonly #decryption: CipherContext;
	readonly #keyId: number;

	constructor(
		libcrypto: Libcrypto,
		scratch: Scratch,
		{encryption, decryption, keyId}: {encryption: CipherContext; decryption: CipherContext; keyId: number},
	) {
		this.#libcrypto = libcrypto;
		this.#scratch = scratch;
		this.#encryption = encryption;
		this.#decryption = decryption;
		this.#keyId = keyId;
	}

	/** For `EvpSuite.borrow` on another thread. */
	get contexts(): KeyContexts {
		return {
			encryption: this.#encryption.address,
			decryption: this.#decryption.address,
			ivs: undefined,
			keyId: this.#keyId,
		};
	}

	/** The same key, to be used on another thread at the same time; it is wiped on its own. */
	copy(): EvpGcmKey {
		return new EvpGcmKey(this.#libcrypto, this.#scratch, {
			encryption: this.#encryption.copy(),
			decryption: this.#decryption.copy(),
			keyId: this.#keyId,
		});
	}

	seal(run: BlockRun, labels: Uint8Array): void {
		const {addressOf} = this.#libcrypto;
		const input = addressOf(run.plain) + run.plainOffset;
		const output = addressOf(run.sealed) + run.sealedOffset;
		this.#scratch.fillContexts(run, this.#keyId, labels);
		for (let i = 0; i < run.count; i++) {
			this.#encryption.processAuthenticated(i, output + i * blockSize, input + i * blockSize);
			this.#encryption.takeTag(i, this.#scratch.tweaks);
		}

		labels.set(this.#scratch.labelBytes.subarray(0, run.count * labelLength), run.first * labelLength);
	}

	open(run: BlockRun, labels: Uint8Array): number[] {
		const {addressOf} = this.#libcrypto;
		const input = addressOf(run.sealed) + run.sealedOffset;
		const output = addressOf(run.plain) + run.plainOffset;
		const bad: number[] = [];
		this.#scratch.fillContexts(run, this.#keyId, labels);
		for (let i = 0; i < run.count; i++) {
			this.#decryption.processAuthenticated(i, output + i * blockSize, input + i * blockSize);
			if (!this.#decryption.matchesTag(i, this.#scratch.tweaks) || !this.#endsInZeroes(i)) {
				bad.push(i);
				const start = run.plainOffset + i * blockSize;
				run.plain.fill(0, start, start + blockSize);
			}
		}

		return bad;
	}

	wipe(): void {
		this.#encryption.free();
		this.#decryption.free();
	}

	#endsInZeroes(index: number): boolean {
		const {labelBytes} = this.#scratch;
		for (let i = index * labelLength + tagLength + nonceLength; i < (index + 1) * labelLength; i++) {
			if (labelBytes[i] !== 0) {
				return false;
			}
		}

		return true;
	}
}

export class EvpSuite extends AesSuite {
	readonly name = 'libcrypto';
	readonly #libcrypto: Libcrypto;
	readonly #scratch: Scratch;
	readonly #sha256: Address;

	constructor(libcrypto: Libcrypto) {
		super();
		this.#libcrypto = libcrypto;
		this.#scratch = new Scratch(libcrypto);
		this.#sha256 = present(libcrypto.digestFetch(null, 'SHA256', null), 'EVP_MD_fetch(SHA256)');
	}

	xts(key: Uint8Array): EvpKey {
		return new EvpKey(this.#libcrypto, this.#scratch, this.#bothDirections('AES-256-XTS', key));
	}

	cbcEssiv(key: Uint8Array): EvpKey {
		const salt = createHash('sha256').update(key).digest();
		try {
			const ivs = this.#context('AES-256-ECB', salt, true);
			return new EvpKey(this.#libcrypto, this.#scratch, {...this.#bothDirections('AES-256-CBC', key), ivs});
		} finally {
			salt.fill(0);
		}
	}

	gcm(key: Uint8Array, keyId: number): EvpGcmKey {
		return new EvpGcmKey(this.#libcrypto, this.#scratch, {...this.#bothDirections('AES-256-GCM', key), keyId});
	}

	/**
	 * A key whose contexts another thread has made, and does not use meanwhile. They stay its to wipe: never call
	 * `wipe` here.
	 */
	borrow({encryption, decryption, ivs, keyId}: KeyContexts): PreparedKey {
		const context = (address: Address) => new CipherContext(this.#libcrypto, this.#scratch, address);
		if (keyId !== undefined) {
			return new EvpGcmKey(this.#libcrypto, this.#scratch, {
				encryption: context(encryption),
				decryption: context(decryption),
				keyId,
			});
		}

		return new EvpKey(this.#libcrypto, this.#scratch, {
			encryption: context(encryption),
			decryption: context(decryption),
			ivs: ivs === undefined ? undefined : context(ivs),
		});
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		const {digest, addressOf} = this.#libcrypto;
		const sha256 = this.#sha256;
		const input = addressOf(sealed) + sealedOffset;
		const output = addressOf(labels) + labelsOffset;
		for (let i = 0; i < count; i++) {
			if (digest(input + i * blockSize, blockSize, output + i * labelLength, null, sha256, null) !== 1) {
				throw new Error('libcrypto: EVP_Digest failed');
			}
		}
	}

	#bothDirections(cipher: string, key: Uint8Array) {
		return {encryption: this.#context(cipher, key, true), decryption: this.#context(cipher, key, false)};
	}

	#context(cipher: string, key: Uint8Array, encrypt: boolean): CipherContext {
		return CipherContext.ofKey(this.#libcrypto, this.#scratch, {cipher, key, encrypt});
	}
}
