import {createCipheriv} from 'node:crypto';
import test from 'ava';
import {CbcEssiv, Xts} from './block-modes.js';

interface XtsVector {
	readonly name: string;
	readonly key: string;
	readonly unitNumber: number;
	readonly plain: Buffer;
	/** The beginning of the ciphertext: without ciphertext stealing it does not depend on what follows. */
	readonly sealed: string;
}

const counting = Buffer.from(Array.from({length: 512}, (_value, index) => index & 0xff));
const vector10Key =
	'27182818284590452353602874713526624977572470936999595749669676273141592653589793238462643383279502884197169399375105820974944592';

/** IEEE 1619-2007, annex B; vectors 10 and 11 have 512-byte data units, of which the first 64 bytes stand here. */
const xtsVectors: XtsVector[] = [
	{
		name: 'vector 10',
		key: vector10Key,
		unitNumber: 0xff,
		plain: counting,
		sealed: '1c3b3a102f770386e4836c99e370cf9bea00803f5e482357a4ae12d414a3e63b5d31e276f8fe4a8d66b317f9ac683f44680a86ac35adfc3345befecb4bb188fd',
	},
	{
		name: 'vector 11',
		key: vector10Key,
		unitNumber: 0xffff,
		plain: counting,
		sealed: '77a31251618a15e6b92d1d66dffe7b50b50bad552305ba0217a610688eff7e11e1d0225438e093242d6db274fde801d4cae06f2092c728b2478559df58e837c2',
	},
];

function words(bytes: Buffer): Uint32Array {
	return new Uint32Array(Uint8Array.from(bytes).buffer);
}

function tweakOf(unitNumber: number): Buffer {
	const tweak = Buffer.alloc(16);
	tweak.writeBigUInt64LE(BigInt(unitNumber));
	return tweak;
}

for (const {name, key, unitNumber, plain, sealed} of xtsVectors) {
	test(`XTS-AES-256: ${name} of IEEE 1619`, t => {
		const xts = new Xts(Buffer.from(key, 'hex'));
		const unit = words(plain);
		xts.encrypt(unit, tweakOf(unitNumber));
		t.is(Buffer.from(unit.buffer).toString('hex').slice(0, sealed.length), sealed);
		xts.decrypt(unit, tweakOf(unitNumber));
		t.deepEqual(Buffer.from(unit.buffer), plain);
	});
}

test('XTS agrees with OpenSSL over a whole block', t => {
	const key = Buffer.from(vector10Key, 'hex');
	const plain = Buffer.concat(Array.from({length: 8}, () => counting));
	const unit = words(plain);
	new Xts(key).encrypt(unit, tweakOf(2 ** 40 + 5));
	t.deepEqual(Buffer.from(unit.buffer), createCipheriv('aes-256-xts', key, tweakOf(2 ** 40 + 5)).update(plain));
});

test('CBC decrypts what it encrypted, and chains', t => {
	const mode = new CbcEssiv(Buffer.from(vector10Key, 'hex').subarray(0, 32));
	const plain = Buffer.alloc(64, 5);
	const unit = words(plain);
	mode.encrypt(unit, tweakOf(1));
	const sealed = Buffer.from(unit.buffer).toString('hex');
	t.not(sealed.slice(0, 32), sealed.slice(32, 64));
	mode.decrypt(unit, tweakOf(1));
	t.deepEqual(Buffer.from(unit.buffer), plain);
});

test('wiping leaves nothing of the key', t => {
	const key = Buffer.from(vector10Key, 'hex');
	const zeroKeyed = words(counting);
	const wiped = words(counting);
	const xts = new Xts(key);
	xts.encrypt(zeroKeyed, tweakOf(1));
	xts.wipe();
	xts.encrypt(wiped, tweakOf(1));
	t.notDeepEqual(wiped, zeroKeyed);
	const other = new Xts(Buffer.from(key).reverse());
	other.wipe();
	const otherWiped = words(counting);
	other.encrypt(otherWiped, tweakOf(1));
	t.deepEqual(otherWiped, wiped);
});
