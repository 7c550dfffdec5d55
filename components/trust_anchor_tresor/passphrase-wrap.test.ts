import test from 'ava';
import {goldenNames, loadGolden} from '../../test/support/golden.js';
import {unwrapMasterKey, unwrapUnder, wrapMasterKey, wrapUnder} from './passphrase-wrap.js';

/** RFC 3394 sections 4.3, 4.5 and 4.6: key encryption key, key data, ciphertext. */
const rfcVectors = [
	['00112233445566778899aabbccddeeff', '64e8c3f9ce0f5ba263e9777905818a2a93c8191e7d6e8ae7'],
	[
		'00112233445566778899aabbccddeeff0001020304050607',
		'a8f9bc1612c68b3ff6e6f4fbe30e71e4769c8b80a32cb8958cd5d17d6b254da1',
	],
	[
		'00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f',
		'28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21',
	],
].map(([key, wrapped]) => ({key: Buffer.from(key, 'hex'), wrapped: Buffer.from(wrapped, 'hex')}));

const rfcEncryptionKey = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');

test('key wrap gives the results of RFC 3394', t => {
	for (const {key, wrapped} of rfcVectors) {
		t.deepEqual(wrapUnder(rfcEncryptionKey, key), wrapped);
		t.deepEqual(unwrapUnder(rfcEncryptionKey, wrapped), key);
	}
});

test('every altered bit of a wrapped key is noticed', t => {
	const {wrapped} = rfcVectors[2];
	for (let bit = 0; bit < wrapped.length * 8; bit++) {
		const altered = Buffer.from(wrapped);
		altered[bit >> 3] ^= 1 << (bit & 7);
		t.is(unwrapUnder(rfcEncryptionKey, altered), undefined, `bit ${bit}`);
	}
});

test("the original's files open to the original's master keys", t => {
	for (const name of goldenNames) {
		const {trust_anchor: anchor} = loadGolden(name).description;
		const passphrase = Buffer.from(anchor.passphrase);
		const wrapped = Buffer.from(anchor.encrypted_private_key_file, 'hex');
		t.is(unwrapMasterKey(passphrase, wrapped)?.toString('hex'), anchor.master_key);
		t.is(unwrapMasterKey(Buffer.concat([passphrase, Buffer.from('x')]), wrapped), undefined);
		t.deepEqual(wrapMasterKey(passphrase, Buffer.from(anchor.master_key, 'hex')), wrapped);
	}
});

test('a passphrase that was hashed with its terminating NUL opens too', t => {
	const masterKey = Buffer.alloc(32, 3);
	const [latin1, other] = ['grün', 'grön'].map(text => Buffer.from(text, 'latin1'));
	t.deepEqual(unwrapMasterKey(latin1, wrapMasterKey(latin1, masterKey)), masterKey);
	t.is(
		unwrapMasterKey(other, wrapMasterKey(latin1, masterKey)),
		undefined,
		'bytes that are no UTF-8 are not all one',
	);
	t.deepEqual(
		unwrapMasterKey(Buffer.from('pässwort'), wrapMasterKey(Buffer.from('pässwort\0'), masterKey)),
		masterKey,
	);
});
