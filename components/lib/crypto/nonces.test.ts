import {randomFillSync} from 'node:crypto';
import test from 'ava';
import {labelLength, nonceLength, tagLength} from '../../sessions/cipher.js';
import {Nonces} from './nonces.js';

test('every batch draws exactly its own nonces, and each label gets one of them', t => {
	let drawn = Buffer.alloc(0);
	const nonces = new Nonces(bytes => {
		randomFillSync(bytes);
		drawn = Buffer.concat([drawn, bytes]);
	});
	const given: string[] = [];
	for (const count of [1, 0, 2, 63, 64, 65, 1, 255, 256, 257, 700, 7]) {
		const labels = new Uint8Array(count * labelLength);
		nonces.add(labels);
		for (let offset = 0; offset < labels.length; offset += labelLength) {
			given.push(
				Buffer.from(labels.subarray(offset + tagLength, offset + tagLength + nonceLength)).toString('hex'),
			);
			labels.fill(0, offset + tagLength, offset + tagLength + nonceLength);
		}

		t.true(
			labels.every(byte => byte === 0),
			'nothing but the nonces is touched',
		);
		t.is(
			given.join(''),
			drawn.toString('hex'),
			'nothing is left over for the next batch, which may be that of a second copy of this machine',
		);
	}

	t.is(new Set(given).size, 1671);
});
