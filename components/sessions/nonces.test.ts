import {randomBytes} from 'node:crypto';
import test from 'ava';
import {labelLength, nonceLength, tagLength} from './cipher.js';
import {Nonces} from './nonces.js';

test('every label gets a nonce of its own, made of bytes that were drawn once, whatever the sizes of the batches', t => {
	let drawn = Buffer.alloc(0);
	const nonces = new Nonces(length => {
		const bytes = randomBytes(length);
		drawn = Buffer.concat([drawn, bytes]);
		return bytes;
	});
	const given: string[] = [];
	for (const count of [1, 0, 2, 63, 64, 65, 1, 256, 7]) {
		const labels = new Uint8Array(count * labelLength);
		nonces.add(labels);
		for (let offset = 0; offset < labels.length; offset += labelLength) {
			given.push(Buffer.from(labels.subarray(offset + tagLength, offset + tagLength + nonceLength)).toString('hex'));
			labels.fill(0, offset + tagLength, offset + tagLength + nonceLength);
		}

		t.true(labels.every(byte => byte === 0), 'nothing but the nonces is touched');
	}

	t.is(new Set(given).size, 459);
	t.is(given.join(''), drawn.toString('hex').slice(0, given.length * nonceLength * 2));
});
