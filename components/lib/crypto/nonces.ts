/**
 * Random nonces for an authenticated cipher. Random ones need no memory, so they stay apart after a crash, in a
 * restored backup and in a second copy of the image, too; how many blocks one key may seal is the device's to watch.
 *
 * Invariant: what was drawn is given out once, to one label of the batch that it was drawn for. There is no stock: a
 * virtual machine that is set back or cloned would give the same one out twice, to other data.
 */
import {secretBytes} from '../../../runtime/sdk/secret-memory.js';
import {labelLength, nonceLength, tagLength} from '../../sessions/cipher.js';

/** So many are drawn by one call, which takes 0.6 µs for one and 3 µs for 64. */
const drawnCountMax = 256;

export class Nonces {
	readonly #fillRandom: (bytes: Uint8Array) => void;
	readonly #drawn = secretBytes(drawnCountMax * nonceLength);

	constructor(fillRandom: (bytes: Uint8Array) => void) {
		this.#fillRandom = fillRandom;
	}

	/** Puts one into each label. */
	add(labels: Uint8Array): void {
		const drawn = this.#drawn;
		let offset = tagLength;
		while (offset < labels.length) {
			const length = Math.min(drawnCountMax, Math.ceil((labels.length - offset) / labelLength)) * nonceLength;
			this.#fillRandom(drawn.subarray(0, length));
			for (let next = 0; next < length; offset += labelLength) {
				for (let to = offset; to < offset + nonceLength; to++, next++) {
					labels[to] = drawn[next];
				}
			}
		}
	}
}
