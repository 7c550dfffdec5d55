import {randomBytes} from 'node:crypto';
import test from 'ava';
import {createRecipient, EnvelopeError, openEnvelope, sealEnvelope} from './key-envelope.js';

const key = Buffer.from('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex');

test('the recipient, and nobody else, opens an envelope', t => {
	const recipient = createRecipient(randomBytes);
	const envelope = sealEnvelope(key, recipient.publicKey, randomBytes);
	t.deepEqual(openEnvelope(envelope, recipient), key);
	t.throws(() => openEnvelope(envelope, createRecipient(randomBytes)), {instanceOf: EnvelopeError});
});

test('a recipient is the X25519 key pair of its secret (RFC 7748 section 6.1, Alice)', t => {
	const secret = Buffer.from('77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a', 'hex');
	const {publicKey} = createRecipient(() => secret);
	t.is(Buffer.from(publicKey).toString('hex'), '8520f0098930a754748b7ddcb43ef75a0dbf3a0d26381af4eba4a98eaa9b4e6a');
});

test('every altered byte and every truncation is noticed', t => {
	const recipient = createRecipient(randomBytes);
	const envelope = sealEnvelope(key, recipient.publicKey, randomBytes);
	for (let i = 0; i < envelope.length; i++) {
		const altered = Uint8Array.from(envelope);
		altered[i] ^= 1;
		t.throws(() => openEnvelope(altered, recipient), {instanceOf: EnvelopeError}, `byte ${i}`);
		t.throws(() => openEnvelope(envelope.subarray(0, i), recipient), {instanceOf: EnvelopeError}, `length ${i}`);
	}
});

test('two envelopes of one key share nothing but the version', t => {
	const recipient = createRecipient(randomBytes);
	const [one, other] = [1, 2].map(() => Buffer.from(sealEnvelope(key, recipient.publicKey, randomBytes)));
	t.notDeepEqual(one.subarray(1, 33), other.subarray(1, 33));
	t.notDeepEqual(one.subarray(33), other.subarray(33));
	t.false(one.includes(key.subarray(0, 8)));
});

test('a public key of low order or wrong length is refused', t => {
	for (const publicKey of [new Uint8Array(32), Uint8Array.of(1, ...new Uint8Array(31)), new Uint8Array(31)]) {
		t.throws(() => sealEnvelope(key, publicKey, randomBytes), {instanceOf: EnvelopeError});
	}
});

test('the random bytes behind a recipient are wiped', t => {
	const drawn: Uint8Array[] = [];
	createRecipient(count => {
		const bytes = new Uint8Array(count).fill(7);
		drawn.push(bytes);
		return bytes;
	});
	t.deepEqual(drawn, [new Uint8Array(32)]);
});
