/**
 * XTS (IEEE 1619) and CBC with ESSIV on top of noble's AES rounds, over 32-bit words. The key schedules are kept;
 * noble's own modes would expand the key again for every block.
 */
import {ecb, unsafe} from '@noble/ciphers/aes.js';
import {swap32IfBE} from '@noble/ciphers/utils.js';
import {sha256} from '@noble/hashes/sha2.js';
import {tweakLength} from '../lib/crypto/cipher-suite.js';

const wordsPerCipherBlock = 4;

/** Key schedules of one AES-256 key in both directions. */
class Aes {
	readonly encryption: Uint32Array;
	readonly decryption: Uint32Array;

	constructor(key: Uint8Array) {
		this.encryption = unsafe.expandKeyLE(key);
		this.decryption = unsafe.expandKeyDecLE(key);
	}

	wipe(): void {
		this.encryption.fill(0);
		this.decryption.fill(0);
	}
}

/** A mode of operation that works on one data unit in place. `tweak` is the unit's number, 16 bytes. */
export interface BlockMode {
	encrypt(unit: Uint32Array, tweak: Uint8Array): void;
	decrypt(unit: Uint32Array, tweak: Uint8Array): void;
	wipe(): void;
}

/** Four little-endian words of 16 bytes. */
function wordsOf(block: Uint8Array): Uint32Array {
	return swap32IfBE(new Uint32Array(Uint8Array.from(block).buffer));
}

type Rounds = typeof unsafe.encrypt;

function xts(rounds: Rounds, schedule: Uint32Array, unit: Uint32Array, firstTweak: readonly number[]): void {
	let t0 = firstTweak[0];
	let t1 = firstTweak[1];
	let t2 = firstTweak[2];
	let t3 = firstTweak[3];
	for (let i = 0; i < unit.length; i += wordsPerCipherBlock) {
		const {s0, s1, s2, s3} = rounds(schedule, unit[i] ^ t0, unit[i + 1] ^ t1, unit[i + 2] ^ t2, unit[i + 3] ^ t3);
		unit[i] = s0 ^ t0;
		unit[i + 1] = s1 ^ t1;
		unit[i + 2] = s2 ^ t2;
		unit[i + 3] = s3 ^ t3;
		// The tweak times x in GF(2^128), modulo x^128 + x^7 + x^2 + x + 1.
		const carry = (t3 >> 31) & 0x87;
		t3 = (t3 << 1) | (t2 >>> 31);
		t2 = (t2 << 1) | (t1 >>> 31);
		t1 = (t1 << 1) | (t0 >>> 31);
		t0 = (t0 << 1) ^ carry;
	}
}

/** AES-256-XTS without ciphertext stealing: units are whole cipher blocks. The key has 64 bytes, data key first. */
export class Xts implements BlockMode {
	readonly #data: Aes;
	readonly #tweak: Aes;

	constructor(key: Uint8Array) {
		this.#data = new Aes(key.subarray(0, 32));
		this.#tweak = new Aes(key.subarray(32));
	}

	encrypt(unit: Uint32Array, tweak: Uint8Array): void {
		xts(unsafe.encrypt, this.#data.encryption, unit, this.#firstTweak(tweak));
	}

	decrypt(unit: Uint32Array, tweak: Uint8Array): void {
		xts(unsafe.decrypt, this.#data.decryption, unit, this.#firstTweak(tweak));
	}

	wipe(): void {
		this.#data.wipe();
		this.#tweak.wipe();
	}

	#firstTweak(tweak: Uint8Array): number[] {
		const words = wordsOf(tweak);
		const {s0, s1, s2, s3} = unsafe.encrypt(this.#tweak.encryption, words[0], words[1], words[2], words[3]);
		return [s0, s1, s2, s3];
	}
}

/** AES-256-CBC without padding, its IV made of the unit's number under the hash of the key (format section 9). */
export class CbcEssiv implements BlockMode {
	readonly #data: Aes;
	readonly #salt: Uint8Array;

	constructor(key: Uint8Array) {
		this.#data = new Aes(key);
		this.#salt = sha256(key);
	}

	encrypt(unit: Uint32Array, tweak: Uint8Array): void {
		const schedule = this.#data.encryption;
		const iv = this.#iv(tweak);
		let c0 = iv[0];
		let c1 = iv[1];
		let c2 = iv[2];
		let c3 = iv[3];
		for (let i = 0; i < unit.length; i += wordsPerCipherBlock) {
			const {s0, s1, s2, s3} = unsafe.encrypt(
				schedule,
				unit[i] ^ c0,
				unit[i + 1] ^ c1,
				unit[i + 2] ^ c2,
				unit[i + 3] ^ c3,
			);
			c0 = s0;
			c1 = s1;
			c2 = s2;
			c3 = s3;
			unit[i] = s0;
			unit[i + 1] = s1;
			unit[i + 2] = s2;
			unit[i + 3] = s3;
		}
	}

	decrypt(unit: Uint32Array, tweak: Uint8Array): void {
		const schedule = this.#data.decryption;
		const iv = this.#iv(tweak);
		let c0 = iv[0];
		let c1 = iv[1];
		let c2 = iv[2];
		let c3 = iv[3];
		for (let i = 0; i < unit.length; i += wordsPerCipherBlock) {
			const n0 = unit[i];
			const n1 = unit[i + 1];
			const n2 = unit[i + 2];
			const n3 = unit[i + 3];
			const {s0, s1, s2, s3} = unsafe.decrypt(schedule, n0, n1, n2, n3);
			unit[i] = s0 ^ c0;
			unit[i + 1] = s1 ^ c1;
			unit[i + 2] = s2 ^ c2;
			unit[i + 3] = s3 ^ c3;
			c0 = n0;
			c1 = n1;
			c2 = n2;
			c3 = n3;
		}
	}

	wipe(): void {
		this.#data.wipe();
		this.#salt.fill(0);
	}

	#iv(tweak: Uint8Array): Uint32Array {
		return wordsOf(ecb(this.#salt, {disablePadding: true}).encrypt(tweak.subarray(0, tweakLength)));
	}
}
