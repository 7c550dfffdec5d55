/** The ciphers and the label in pure JavaScript. */
import {swap32IfBE} from '@noble/ciphers/utils.js';
import {sha256} from '@noble/hashes/sha2.js';
import {blockSize} from '../container/geometry.js';
import {labelLength} from '../sessions/cipher.js';
import {AesSuite, tweakLength, writeTweak, type BlockRun, type PreparedKey} from '../sessions/cipher-suite.js';
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

class NobleKey implements PreparedKey {
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

export class NobleSuite extends AesSuite {
	readonly name = '@noble/ciphers';
	readonly #work = new WorkBlock();

	xts(key: Uint8Array): PreparedKey {
		return new NobleKey(new Xts(key), this.#work);
	}

	cbcEssiv(key: Uint8Array): PreparedKey {
		return new NobleKey(new CbcEssiv(key), this.#work);
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		for (let i = 0; i < count; i++) {
			const start = sealedOffset + i * blockSize;
			labels.set(sha256(sealed.subarray(start, start + blockSize)), labelsOffset + i * labelLength);
		}
	}
}
