/** A crypto server that is fast and no secret: it adds a number of key and place to each word. Labels are real. */
import {SessionError, type Handlers} from '../../runtime/sdk/session.js';
import {labelOf, labelLength} from '../../components/lib/format/label.js';
import {blockSize} from '../../components/sessions/block.js';
import {isAuthenticated} from '../../components/sessions/cipher.js';
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

function labelWith(
	{isBinding}: QuickKey,
	cipherBlock: Uint8Array,
	place: {address: number; vba: number; generation: number; keyId: number},
): Buffer {
	return isBinding ? boundLabel(cipherBlock, place) : labelOf(cipherBlock);
}

function* blocksOf(segments: readonly Uint8Array[]): Generator<Uint8Array> {
	for (const segment of segments) {
		for (let offset = 0; offset < segment.length; offset += blockSize) {
			yield segment.subarray(offset, offset + blockSize);
		}
	}
}

/** What an authenticated cipher binds a block to, in place of a tag: the oracle knows the same rule. */
export function boundLabel(
	cipherBlock: Uint8Array,
	{address, vba, generation, keyId}: {address: number; vba: number; generation: number; keyId: number},
): Buffer {
	const label = Buffer.from(labelOf(cipherBlock));
	const context = labelOf(Buffer.from(`${address} ${vba} ${generation} ${keyId}`));
	for (let i = 0; i < label.length; i++) {
		label[i] ^= context[i];
	}

	return label;
}

interface QuickKey {
	readonly bytes: Uint8Array;
	readonly isBinding: boolean;
}

/** A block sealed for its place, by others than the server. */
export function sealQuick(key: Uint8Array, address: number, plain: Uint8Array): Buffer {
	return addPad(plain, padOf(key, address));
}

/** What a block says that was sealed for this place, for readers other than the server. */
export function openQuick(key: Uint8Array, address: number, sealed: Uint8Array): Buffer {
	return addPad(sealed, -padOf(key, address));
}

export function quickCryptoHandlers(): Handlers<typeof crypto> {
	const keys = new Map<number, QuickKey>();
	const keyOf = (keyId: number): QuickKey => {
		const key = keys.get(keyId);
		if (!key) {
			throw new SessionError('unknown_key', `there is no key ${keyId}`);
		}

		return key;
	};

	return {
		recipient: () => ({publicKey: new Uint8Array(32)}),
		add_key({keyId, cipher, envelope}) {
			keys.set(keyId, {bytes: Uint8Array.from(envelope), isBinding: isAuthenticated(cipher)});
			return {};
		},
		remove_key({keyId}) {
			keys.delete(keyId);
			return {};
		},
		seal({keyId, addresses, vbas, generations, plain, sealed}) {
			const key = keyOf(keyId);
			const labels = new Uint8Array(addresses.length * labelLength);
			let i = 0;
			for (const block of blocksOf(plain)) {
				const cipherBlock = addPad(block, padOf(key.bytes, addresses[i]));
				sealed.set(cipherBlock, i * blockSize);
				labels.set(
					labelWith(key, cipherBlock, {
						address: addresses[i],
						vba: vbas[i],
						generation: generations[i],
						keyId,
					}),
					i * labelLength,
				);
				i++;
			}

			return {labels};
		},
		open({keyId, addresses, vbas, generations, labels, sealed, plain}) {
			const key = keyOf(keyId);
			const mismatched: number[] = [];
			let i = 0;
			for (const block of blocksOf(plain)) {
				const cipherBlock = sealed.subarray(i * blockSize, (i + 1) * blockSize);
				if (
					labelWith(key, cipherBlock, {
						address: addresses[i],
						vba: vbas[i],
						generation: generations[i],
						keyId,
					}).equals(labels.subarray(i * labelLength, (i + 1) * labelLength))
				) {
					block.set(addPad(cipherBlock, -padOf(key.bytes, addresses[i])));
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
