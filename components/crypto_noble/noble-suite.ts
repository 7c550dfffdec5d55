/** The ciphers and the label in pure JavaScript. */
import {gcm} from '@noble/ciphers/aes.js';
import {swap32IfBE} from '@noble/ciphers/utils.js';
import {sha256} from '@noble/hashes/sha2.js';
import {labelLength, tagLength} from '../sessions/cipher.js';
import {
	AesSuite,
	contextLength,
	labelParts,
	makeContexts,
	tweakLength,
	writeContext,
	writeTweak,
	type AuthenticatedKey,
	type BlockRun,
	type CipherKey,
} from '../lib/crypto/cipher-suite.js';
import {blockSize} from '../sessions/vocabulary.js';
import {CbcEssiv, Xts, type BlockMode} from './block-modes.js';

/** One block as bytes and as words: payload need not be aligned, and may be changed by others meanwhile. */
class WorkBlock {
	readonly bytes = new Uint8Array(blockSize);
	readonly #words = new Uint32Array(this.bytes.buffer);
	readonly #tweak = new Uint8Array(tweakLength);
	readonly #tweakView = new DataView(this.#tweak.buffer);

	/** Runs `job` on the little-endian words of the block. */
	process(address: number, job: (unit: Uint32Array, tweak: Uint8Array) => void): void {
		writeTweak(this.#tweakView, 0, address);
		swap32IfBE(this.#words);
		job(this.#words, this.#tweak);
		swap32IfBE(this.#words);
	}
}

class NobleKey implements CipherKey {
	readonly #mode: BlockMode;
	readonly #work: WorkBlock;

	constructor(mode: BlockMode, work: WorkBlock) {
		this.#mode = mode;
		this.#work = work;
	}

	encrypt({addresses, first, count, plain, plainOffset, sealed, sealedOffset}: BlockRun): void {
		const {bytes} = this.#work;
		for (let i = 0; i < count; i++) {
			const start = plainOffset + i * blockSize;
			bytes.set(plain.subarray(start, start + blockSize));
			this.#work.process(addresses[first + i], (unit, tweak) => {
				this.#mode.encrypt(unit, tweak);
			});
			sealed.set(bytes, sealedOffset + i * blockSize);
		}
	}

	decrypt({addresses, first, count, plain, plainOffset, sealed, sealedOffset}: BlockRun): void {
		const {bytes} = this.#work;
		for (let i = 0; i < count; i++) {
			const start = sealedOffset + i * blockSize;
			bytes.set(sealed.subarray(start, start + blockSize));
			this.#work.process(addresses[first + i], (unit, tweak) => {
				this.#mode.decrypt(unit, tweak);
			});
			plain.set(bytes, plainOffset + i * blockSize);
		}
	}

	wipe(): void {
		this.#mode.wipe();
		this.#work.bytes.fill(0);
	}
}

class NobleGcmKey implements AuthenticatedKey {
	/** Our own copy: the giver wipes its. */
	readonly #key: Uint8Array;
	readonly #keyId: number;
	readonly #contexts = makeContexts(1);
	/** One block with its tag behind. */
	readonly #work = new Uint8Array(blockSize + tagLength);

	constructor(key: Uint8Array, keyId: number) {
		this.#key = Uint8Array.from(key);
		this.#keyId = keyId;
	}

	seal(run: BlockRun, labels: Uint8Array): void {
		for (let i = 0; i < run.count; i++) {
			const {tag, nonce} = labelParts(labels, run.first + i);
			const start = run.plainOffset + i * blockSize;
			const sealed = gcm(this.#key, nonce, this.#contextOf(run, i)).encrypt(
				run.plain.slice(start, start + blockSize),
			);
			run.sealed.set(sealed.subarray(0, blockSize), run.sealedOffset + i * blockSize);
			tag.set(sealed.subarray(blockSize));
		}
	}

	open(run: BlockRun, labels: Uint8Array): number[] {
		const bad: number[] = [];
		for (let i = 0; i < run.count; i++) {
			const {tag, nonce, isWellFormed} = labelParts(labels, run.first + i);
			const [from, to] = [run.sealedOffset + i * blockSize, run.plainOffset + i * blockSize];
			this.#work.set(run.sealed.subarray(from, from + blockSize));
			this.#work.set(tag, blockSize);
			try {
				if (!isWellFormed) {
					throw new Error('the rest of the label is not zero');
				}

				const plain = gcm(this.#key, nonce, this.#contextOf(run, i)).decrypt(this.#work);
				run.plain.set(plain, to);
				plain.fill(0);
			} catch {
				bad.push(i);
				run.plain.fill(0, to, to + blockSize);
			}
		}

		return bad;
	}

	wipe(): void {
		this.#key.fill(0);
		this.#work.fill(0);
	}

	#contextOf(run: BlockRun, index: number): Uint8Array {
		writeContext(this.#contexts, 0, {...run, first: run.first + index}, this.#keyId);
		return new Uint8Array(this.#contexts.buffer, 0, contextLength);
	}
}

export class NobleSuite extends AesSuite {
	readonly name = '@noble/ciphers';
	readonly #work = new WorkBlock();

	xts(key: Uint8Array): CipherKey {
		return new NobleKey(new Xts(key), this.#work);
	}

	cbcEssiv(key: Uint8Array): CipherKey {
		return new NobleKey(new CbcEssiv(key), this.#work);
	}

	gcm(key: Uint8Array, keyId: number): AuthenticatedKey {
		return new NobleGcmKey(key, keyId);
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		for (let i = 0; i < count; i++) {
			const start = sealedOffset + i * blockSize;
			labels.set(sha256(sealed.subarray(start, start + blockSize)), labelsOffset + i * labelLength);
		}
	}
}
