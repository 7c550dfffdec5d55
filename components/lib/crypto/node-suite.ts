/**
 * The same ciphers through node:crypto, for a node binary that does not export libcrypto. Slower: a set-up per block.
 */
import {createCipheriv, createDecipheriv, createHash, hash, type DecipherGCM} from 'node:crypto';
import {labelLength, tagLength} from '../../sessions/cipher.js';
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
} from './cipher-suite.js';
import {blockSize} from '../../sessions/vocabulary.js';

function tweaksOf({addresses, first, count}: BlockRun): Buffer {
	const tweaks = Buffer.alloc(count * tweakLength);
	const view = new DataView(tweaks.buffer, tweaks.byteOffset, tweaks.length);
	for (let i = 0; i < count; i++) {
		writeTweak(view, i, addresses[first + i]);
	}

	return tweaks;
}

class NodeKey implements CipherKey {
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
			const cipher = createCipheriv(
				this.#cipher,
				this.#key,
				ivs.subarray(i * tweakLength, (i + 1) * tweakLength),
			).setAutoPadding(false);
			const start = plainOffset + i * blockSize;
			sealed.set(cipher.update(plain.subarray(start, start + blockSize)), sealedOffset + i * blockSize);
		}
	}

	decrypt(run: BlockRun): void {
		const {count, plain, plainOffset, sealed, sealedOffset} = run;
		const ivs = this.#ivs(run);
		for (let i = 0; i < count; i++) {
			const decipher = createDecipheriv(
				this.#cipher,
				this.#key,
				ivs.subarray(i * tweakLength, (i + 1) * tweakLength),
			).setAutoPadding(false);
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
		return this.#salt
			? createCipheriv('aes-256-ecb', this.#salt, null).setAutoPadding(false).update(tweaks)
			: tweaks;
	}
}

class NodeGcmKey implements AuthenticatedKey {
	/** Our own copy: the giver wipes its. */
	readonly #key: Buffer;
	readonly #keyId: number;
	readonly #contexts = makeContexts(1);

	constructor(key: Uint8Array, keyId: number) {
		this.#key = Buffer.from(key);
		this.#keyId = keyId;
	}

	seal(run: BlockRun, labels: Uint8Array): void {
		for (let i = 0; i < run.count; i++) {
			const {tag, nonce} = labelParts(labels, run.first + i);
			const cipher = createCipheriv('aes-256-gcm', this.#key, nonce).setAAD(this.#contextOf(run, i));
			const start = run.plainOffset + i * blockSize;
			run.sealed.set(
				cipher.update(run.plain.subarray(start, start + blockSize)),
				run.sealedOffset + i * blockSize,
			);
			cipher.final();
			tag.set(cipher.getAuthTag());
		}
	}

	open(run: BlockRun, labels: Uint8Array): number[] {
		const bad: number[] = [];
		for (let i = 0; i < run.count; i++) {
			const {tag, nonce, isWellFormed} = labelParts(labels, run.first + i);
			const decipher = createDecipheriv('aes-256-gcm', this.#key, nonce, {authTagLength: tagLength})
				.setAAD(this.#contextOf(run, i))
				.setAuthTag(tag);
			const [from, to] = [run.sealedOffset + i * blockSize, run.plainOffset + i * blockSize];
			const plain = decipher.update(run.sealed.subarray(from, from + blockSize));
			if (isWellFormed && isFinal(decipher)) {
				run.plain.set(plain, to);
			} else {
				bad.push(i);
				run.plain.fill(0, to, to + blockSize);
			}

			plain.fill(0);
		}

		return bad;
	}

	wipe(): void {
		this.#key.fill(0);
	}

	#contextOf(run: BlockRun, index: number): Uint8Array {
		writeContext(this.#contexts, 0, {...run, first: run.first + index}, this.#keyId);
		return new Uint8Array(this.#contexts.buffer, 0, contextLength);
	}
}

/** True where the tag matches. */
function isFinal(decipher: DecipherGCM): boolean {
	try {
		decipher.final();
		return true;
	} catch {
		return false;
	}
}

export class NodeSuite extends AesSuite {
	readonly name = 'node:crypto';

	xts(key: Uint8Array): CipherKey {
		return new NodeKey('aes-256-xts', key);
	}

	cbcEssiv(key: Uint8Array): CipherKey {
		return new NodeKey('aes-256-cbc', key, createHash('sha256').update(key).digest());
	}

	gcm(key: Uint8Array, keyId: number): AuthenticatedKey {
		return new NodeGcmKey(key, keyId);
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		for (let i = 0; i < count; i++) {
			const start = sealedOffset + i * blockSize;
			labels.set(
				hash('sha256', sealed.subarray(start, start + blockSize), 'buffer'),
				labelsOffset + i * labelLength,
			);
		}
	}
}
