/**
 * The ciphers of the format in the slowest and plainest way, written from their standards on top of one AES block at a
 * time. Nothing here is shared with a crypto server; published vectors hold it to the standards.
 */
import {createCipheriv, createDecipheriv, createHash, createHmac} from 'node:crypto';

const aesBlockSize = 16;

function aes(key: Uint8Array, block: Uint8Array): Buffer {
	return createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(block);
}

function inverseAes(key: Uint8Array, block: Uint8Array): Buffer {
	return createDecipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(block);
}

export function xor(one: Uint8Array, other: Uint8Array): Buffer {
	return Buffer.from(one.map((byte, i) => byte ^ other[i]));
}

/** Pieces of 16 bytes; the last one may be shorter. */
function piecesOf(bytes: Uint8Array): Uint8Array[] {
	return Array.from({length: Math.ceil(bytes.length / aesBlockSize)}, (_, i) =>
		bytes.subarray(i * aesBlockSize, (i + 1) * aesBlockSize),
	);
}

/** A number as 16 bytes, little-endian. */
export function unitNumber(value: number | bigint): Buffer {
	const bytes = Buffer.alloc(aesBlockSize);
	bytes.writeBigUInt64LE(BigInt(value));
	return bytes;
}

/** CBC without padding, NIST SP 800-38A, section 6.2. */
export function cbcEncrypt(key: Uint8Array, iv: Uint8Array, plain: Uint8Array): Buffer {
	let last: Uint8Array = iv;
	return Buffer.concat(
		piecesOf(plain).map(piece => {
			last = aes(key, xor(piece, last));
			return last;
		}),
	);
}

export function cbcDecrypt(key: Uint8Array, iv: Uint8Array, sealed: Uint8Array): Buffer {
	let last: Uint8Array = iv;
	return Buffer.concat(
		piecesOf(sealed).map(piece => {
			const plain = xor(inverseAes(key, piece), last);
			last = piece;
			return plain;
		}),
	);
}

/** The IV that ESSIV makes of a unit's number. */
export function essiv(key: Uint8Array, unit: Uint8Array): Buffer {
	return aes(createHash('sha256').update(key).digest(), unit);
}

/** XTS-AES-256 on whole cipher blocks, IEEE 1619, section 5.3. */
function xts(key: Uint8Array, unit: Uint8Array, bytes: Uint8Array, cipher: typeof aes): Buffer {
	const dataKey = key.subarray(0, 32);
	let tweak = aes(key.subarray(32), unit);
	return Buffer.concat(
		piecesOf(bytes).map(piece => {
			const done = xor(cipher(dataKey, xor(piece, tweak)), tweak);
			// Times x in GF(2^128), the first byte being the lowest.
			const carry = tweak[15] >> 7;
			tweak = Buffer.from(tweak.map((byte, i) => ((byte << 1) & 0xff) | (i > 0 ? tweak[i - 1] >> 7 : 0)));
			tweak[0] ^= carry * 0x87;
			return done;
		}),
	);
}

export function xtsEncrypt(key: Uint8Array, unit: Uint8Array, plain: Uint8Array): Buffer {
	return xts(key, unit, plain, aes);
}

export function xtsDecrypt(key: Uint8Array, unit: Uint8Array, sealed: Uint8Array): Buffer {
	return xts(key, unit, sealed, inverseAes);
}

function bigOf(bytes: Uint8Array): bigint {
	return BigInt(`0x${Buffer.from(bytes).toString('hex')}`);
}

/** Multiplication in GCM's field, NIST SP 800-38D, algorithm 1: the leftmost bit is the lowest coefficient. */
function multiply(x: bigint, y: bigint): bigint {
	let z = 0n;
	let v = y;
	for (let i = 127n; i >= 0n; i--) {
		if ((x >> i) & 1n) {
			z ^= v;
		}

		v = v & 1n ? (v >> 1n) ^ (0xe1n << 120n) : v >> 1n;
	}

	return z;
}

function ghash(h: bigint, bytes: Uint8Array): bigint {
	return piecesOf(bytes).reduce((y, piece) => multiply(y ^ bigOf(piece), h), 0n);
}

function padded(bytes: Uint8Array): Buffer {
	return Buffer.concat([bytes, Buffer.alloc((aesBlockSize - (bytes.length % aesBlockSize)) % aesBlockSize)]);
}

/** The counter block for a nonce of 96 bits. */
function counterBlock(nonce: Uint8Array, counter: number): Buffer {
	const block = Buffer.alloc(aesBlockSize);
	block.set(nonce);
	block.writeUInt32BE(counter, 12);
	return block;
}

/** AES-256-GCM with a nonce of 96 bits and a tag of 128, NIST SP 800-38D, section 7.1. */
function gcmCounterMode(key: Uint8Array, nonce: Uint8Array, bytes: Uint8Array): Buffer {
	return Buffer.concat(piecesOf(bytes).map((piece, i) => xor(piece, aes(key, counterBlock(nonce, i + 2)))));
}

function gcmTag(key: Uint8Array, nonce: Uint8Array, context: Uint8Array, sealed: Uint8Array): Buffer {
	const lengths = Buffer.alloc(aesBlockSize);
	lengths.writeBigUInt64BE(BigInt(context.length * 8));
	lengths.writeBigUInt64BE(BigInt(sealed.length * 8), 8);
	const hash = ghash(
		bigOf(aes(key, Buffer.alloc(aesBlockSize))),
		Buffer.concat([padded(context), padded(sealed), lengths]),
	);
	return xor(Buffer.from(hash.toString(16).padStart(32, '0'), 'hex'), aes(key, counterBlock(nonce, 1)));
}

export function gcmEncrypt(
	key: Uint8Array,
	nonce: Uint8Array,
	context: Uint8Array,
	plain: Uint8Array,
): {readonly sealed: Buffer; readonly tag: Buffer} {
	const sealed = gcmCounterMode(key, nonce, plain);
	return {sealed, tag: gcmTag(key, nonce, context, sealed)};
}

/** Undefined where the tag does not match. */
export function gcmDecrypt(
	key: Uint8Array,
	nonce: Uint8Array,
	context: Uint8Array,
	sealed: Uint8Array,
	tag: Uint8Array,
): Buffer | undefined {
	return gcmTag(key, nonce, context, sealed).equals(tag) ? gcmCounterMode(key, nonce, sealed) : undefined;
}

/** HKDF-SHA-256, RFC 5869, section 2. An empty salt is one of 32 zeroes. */
export function hkdf(
	secret: Uint8Array,
	{salt = Buffer.alloc(0), info, length}: {salt?: Uint8Array; info: Uint8Array; length: number},
): Buffer {
	const pseudorandom = createHmac('sha256', salt).update(secret).digest();
	let last = Buffer.alloc(0);
	let output = Buffer.alloc(0);
	for (let i = 1; output.length < length; i++) {
		last = createHmac('sha256', pseudorandom).update(last).update(info).update(Buffer.of(i)).digest();
		output = Buffer.concat([output, last]);
	}

	return output.subarray(0, length);
}
