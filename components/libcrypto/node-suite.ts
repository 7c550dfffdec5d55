/** The same ciphers through node:crypto, for a node binary that does not export libcrypto. Slower: a set-up per block. */
import {createCipheriv, createDecipheriv, createHash, hash} from 'node:crypto';
import {blockSize} from '../container/geometry.js';
import {labelLength} from '../sessions/cipher.js';
import {AesSuite, tweakLength, writeTweak, type BlockRun, type PreparedKey} from '../sessions/cipher-suite.js';

function tweaksOf({addresses, first, count}: BlockRun): Buffer {
	const tweaks = Buffer.alloc(count * tweakLength);
	const view = new DataView(tweaks.buffer, tweaks.byteOffset, tweaks.length);
	for (let i = 0; i < count; i++) {
		writeTweak(view, i, addresses[first + i]);
	}

	return tweaks;
}

class NodeKey implements PreparedKey {
	readonly #cipher: string;
	/** Our own copies: the givers wipe theirs. */
	readonly #key: Buffer;
	readonly #salt: Buffer | undefined;

	constructor(cipher: string, key: Uint8Array, salt?: Buffer) {
		this.#cipher = cipher;
		this.#key = Buffer.from(key);
		this.#salt = salt;
	}

	encrypt(run: BlockRun): void {
		const {count, plain, plainOffset, sealed, sealedOffset} = run;
		const ivs = this.#ivs(run);
		for (let i = 0; i < count; i++) {
			const cipher = createCipheriv(this.#cipher, this.#key, ivs.subarray(i * tweakLength, (i + 1) * tweakLength)).setAutoPadding(false);
			const start = plainOffset + i * blockSize;
			sealed.set(cipher.update(plain.subarray(start, start + blockSize)), sealedOffset + i * blockSize);
		}
	}

	decrypt(run: BlockRun): void {
		const {count, plain, plainOffset, sealed, sealedOffset} = run;
		const ivs = this.#ivs(run);
		for (let i = 0; i < count; i++) {
			const decipher = createDecipheriv(this.#cipher, this.#key, ivs.subarray(i * tweakLength, (i + 1) * tweakLength)).setAutoPadding(false);
			const start = sealedOffset + i * blockSize;
			plain.set(decipher.update(sealed.subarray(start, start + blockSize)), plainOffset + i * blockSize);
		}
	}

	wipe(): void {
		this.#key.fill(0);
		this.#salt?.fill(0);
	}

	#ivs(run: BlockRun): Buffer {
		const tweaks = tweaksOf(run);
		return this.#salt ? createCipheriv('aes-256-ecb', this.#salt, null).setAutoPadding(false).update(tweaks) : tweaks;
	}
}

export class NodeSuite extends AesSuite {
	readonly name = 'node:crypto';

	xts(key: Uint8Array): PreparedKey {
		return new NodeKey('aes-256-xts', key);
	}

	cbcEssiv(key: Uint8Array): PreparedKey {
		return new NodeKey('aes-256-cbc', key, createHash('sha256').update(key).digest());
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		for (let i = 0; i < count; i++) {
			const start = sealedOffset + i * blockSize;
			labels.set(hash('sha256', sealed.subarray(start, start + blockSize), 'buffer'), labelsOffset + i * labelLength);
		}
	}
}
