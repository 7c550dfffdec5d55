/** A crypto server that is fast and no secret: it adds a number of key and place to each word. Labels are real. */
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import {labelOf, labelLength} from '../../components/container/label.js';
import {blockSize} from '../../components/sessions/block.js';
import type {crypto} from '../../components/sessions/crypto.js';

function padOf(key: Uint8Array, address: number): number {
	const view = new DataView(key.buffer, key.byteOffset);
	return (view.getUint32(0, true) + Math.imul(address + 1, 0x85eb_ca6b)) | 0;
}

function addPad(block: Uint8Array, pad: number): Buffer {
	const copy = Buffer.from(block);
	const words = new Int32Array(copy.buffer, copy.byteOffset, copy.length / 4);
	for (let i = 0; i < words.length; i++) {
		words[i] += pad;
	}

	return copy;
}

function* blocksOf(segments: readonly Uint8Array[]): Generator<Uint8Array> {
	for (const segment of segments) {
		for (let offset = 0; offset < segment.length; offset += blockSize) {
			yield segment.subarray(offset, offset + blockSize);
		}
	}
}

export function quickCryptoHandlers(): Handlers<typeof crypto> {
	const keys = new Map<number, Uint8Array>();
	const keyOf = (keyId: number): Uint8Array => {
		const key = keys.get(keyId);
		if (!key) {
			throw new SessionError('unknown_key', `there is no key ${keyId}`);
		}

		return key;
	};

	return {
		recipient: () => ({publicKey: new Uint8Array(32)}),
		add_key({keyId, envelope}) {
			keys.set(keyId, Uint8Array.from(envelope));
			return {};
		},
		remove_key({keyId}) {
			keys.delete(keyId);
			return {};
		},
		seal({keyId, addresses, plain, sealed}) {
			const key = keyOf(keyId);
			const labels = new Uint8Array(addresses.length * labelLength);
			let i = 0;
			for (const block of blocksOf(plain)) {
				const cipherBlock = addPad(block, padOf(key, addresses[i]));
				sealed.set(cipherBlock, i * blockSize);
				labels.set(labelOf(cipherBlock), i * labelLength);
				i++;
			}

			return {labels};
		},
		open({keyId, addresses, labels, sealed, plain}) {
			const key = keyOf(keyId);
			const mismatched: number[] = [];
			let i = 0;
			for (const block of blocksOf(plain)) {
				const cipherBlock = sealed.subarray(i * blockSize, (i + 1) * blockSize);
				if (labelOf(cipherBlock).equals(labels.subarray(i * labelLength, (i + 1) * labelLength))) {
					block.set(addPad(cipherBlock, -padOf(key, addresses[i])));
				} else {
					block.fill(0);
					mismatched.push(i);
				}

				i++;
			}

			return {mismatched};
		},
	};
}
