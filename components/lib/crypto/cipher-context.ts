/** A cipher context of libcrypto, and memory that its calls work in. */
import {labelLength, tagLength} from '../../sessions/cipher.js';
import {blockSize} from '../../sessions/vocabulary.js';
import {runBlockCountMax} from './batch-work.js';
import {tweakLength, makeContexts, type BlockRun, writeContext, writeTweak, contextLength} from './cipher-suite.js';
import type {Address, Libcrypto} from './libcrypto.js';

/** Commands of EVP_CIPHER_CTX_ctrl(3) for authenticated ciphers. */
const getTag = 0x10;
const setTag = 0x11;

/** What all keys of a suite share: it is used within one synchronous call only. */
export class Scratch {
	readonly tweaks: Address;
	readonly outputLength: Address;
	/** Associated data and labels of the blocks of a run. */
	readonly contexts: Address;
	readonly labels: Address;
	readonly labelBytes = new Uint8Array(new ArrayBuffer(runBlockCountMax * labelLength));
	readonly #tweakView = new DataView(new ArrayBuffer(runBlockCountMax * tweakLength));
	readonly #contextView = makeContexts(runBlockCountMax);
	readonly #lengthBytes = new Uint8Array(new ArrayBuffer(16));

	constructor({addressOf}: Libcrypto) {
		this.tweaks = addressOf(new Uint8Array(this.#tweakView.buffer));
		this.outputLength = addressOf(this.#lengthBytes);
		this.contexts = addressOf(new Uint8Array(this.#contextView.buffer));
		this.labels = addressOf(this.labelBytes);
	}

	/** Contexts and labels of the blocks of a run. */
	fillContexts(run: BlockRun, keyId: number, labels: Uint8Array): void {
		for (let i = 0; i < run.count; i++) {
			writeContext(this.#contextView, i, run, keyId);
		}

		this.labelBytes.set(labels.subarray(run.first * labelLength, (run.first + run.count) * labelLength));
	}

	/** Tweaks of the blocks of a run. */
	fill({addresses, first, count}: BlockRun): void {
		for (let i = 0; i < count; i++) {
			writeTweak(this.#tweakView, i, addresses[first + i]);
			// The upper half stays zero for XTS, but holds what the last ESSIV left.
			this.#tweakView.setUint32(i * tweakLength + 8, 0, true);
			this.#tweakView.setUint32(i * tweakLength + 12, 0, true);
		}
	}
}

function mustSucceed(result: number, what: string): void {
	if (result !== 1) {
		throw new Error(`libcrypto: ${what} failed`);
	}
}

export function present(pointer: bigint | null, what: string): Address {
	if (!pointer) {
		throw new Error(`libcrypto: ${what} failed`);
	}

	return Number(pointer);
}

/** One direction of one key, for one thread at a time. */
export class CipherContext {
	readonly #libcrypto: Libcrypto;
	readonly #scratch: Scratch;
	#context: Address;

	/** @param context belongs to the new object, which frees it */
	constructor(libcrypto: Libcrypto, scratch: Scratch, context: Address) {
		this.#libcrypto = libcrypto;
		this.#scratch = scratch;
		this.#context = context;
	}

	static ofKey(
		libcrypto: Libcrypto,
		scratch: Scratch,
		{cipher, key, encrypt}: {cipher: string; key: Uint8Array; encrypt: boolean},
	): CipherContext {
		const context = present(libcrypto.contextNew(), 'EVP_CIPHER_CTX_new');
		const type = present(libcrypto.cipherFetch(null, cipher, null), `EVP_CIPHER_fetch(${cipher})`);
		mustSucceed(
			libcrypto.cipherInit(context, type, libcrypto.addressOf(key), null, encrypt ? 1 : 0, null),
			'EVP_CipherInit_ex2',
		);
		mustSucceed(libcrypto.contextSetPadding(context, 0), 'EVP_CIPHER_CTX_set_padding');
		return new CipherContext(libcrypto, scratch, context);
	}

	get address(): Address {
		return this.#context;
	}

	copy(): CipherContext {
		const copy = present(this.#libcrypto.contextNew(), 'EVP_CIPHER_CTX_new');
		mustSucceed(this.#libcrypto.contextCopy(copy, this.#context), 'EVP_CIPHER_CTX_copy');
		return new CipherContext(this.#libcrypto, this.#scratch, copy);
	}

	/** Each block with the tweak of its number as IV. */
	processBlocks(output: Address, input: Address, count: number): void {
		const {cipherInit, cipherUpdate} = this.#libcrypto;
		const {tweaks, outputLength} = this.#scratch;
		const context = this.#context;
		for (let i = 0; i < count; i++) {
			const offset = i * blockSize;
			if (
				cipherInit(context, null, null, tweaks + i * tweakLength, -1, null) !== 1 ||
				cipherUpdate(context, output + offset, outputLength, input + offset, blockSize) !== 1
			) {
				throw new Error('libcrypto: EVP_CipherUpdate failed');
			}
		}
	}

	/** Block `index` of the scratch's contexts and labels, with its nonce, up to its tag. */
	processAuthenticated(index: number, output: Address, input: Address): void {
		const {cipherInit, cipherUpdate} = this.#libcrypto;
		const {contexts, labels, outputLength} = this.#scratch;
		if (
			cipherInit(this.#context, null, null, labels + index * labelLength + tagLength, -1, null) !== 1 ||
			cipherUpdate(this.#context, null, outputLength, contexts + index * contextLength, contextLength) !== 1 ||
			cipherUpdate(this.#context, output, outputLength, input, blockSize) !== 1
		) {
			throw new Error('libcrypto: EVP_CipherUpdate failed');
		}
	}

	/** Ends an encryption; the tag goes into the label. */
	takeTag(index: number, output: Address): void {
		const {labels, outputLength} = this.#scratch;
		mustSucceed(this.#libcrypto.cipherFinal(this.#context, output, outputLength), 'EVP_CipherFinal_ex');
		mustSucceed(
			this.#libcrypto.contextControl(this.#context, getTag, tagLength, labels + index * labelLength),
			'EVP_CTRL_AEAD_GET_TAG',
		);
	}

	/** Ends a decryption; true where the label's tag matches. */
	matchesTag(index: number, output: Address): boolean {
		const {labels, outputLength} = this.#scratch;
		mustSucceed(
			this.#libcrypto.contextControl(this.#context, setTag, tagLength, labels + index * labelLength),
			'EVP_CTRL_AEAD_SET_TAG',
		);
		return this.#libcrypto.cipherFinal(this.#context, output, outputLength) === 1;
	}

	/** Turns the tweaks into IVs (ESSIV), all at once. */
	processTweaks(count: number): void {
		const {tweaks, outputLength} = this.#scratch;
		mustSucceed(
			this.#libcrypto.cipherUpdate(this.#context, tweaks, outputLength, tweaks, count * tweakLength),
			'EVP_CipherUpdate',
		);
	}

	free(): void {
		this.#libcrypto.contextFree(this.#context);
		this.#context = 0;
	}
}
