/**
 * Random nonces for an authenticated cipher. Random ones need no memory, so they stay apart after a crash, in a restored
 * backup and in a second copy of the image, too; how many blocks one key may seal is the device's to watch.
 *
 * Invariant: what was drawn is given out once, to one label.
 */
import {labelLength, nonceLength, tagLength} from './cipher.js';

/** Drawn at once: a call for random bytes takes 1.6 µs, as long as a block's cipher, and hardly more for as many. */
const drawnCount = 64;

export class Nonces {
	readonly #randomBytes: (length: number) => Uint8Array;
	#drawn: Uint8Array = new Uint8Array(0);
	#next = 0;

	constructor(randomBytes: (length: number) => Uint8Array) {
		this.#randomBytes = randomBytes;
	}

	/** Puts one into each label. */
	add(labels: Uint8Array): void {
		for (let offset = tagLength; offset < labels.length; offset += labelLength) {
			if (this.#next === this.#drawn.length) {
				this.#drawn = this.#randomBytes(drawnCount * nonceLength);
				this.#next = 0;
			}

			const end = this.#next + nonceLength;
			for (let to = offset; this.#next < end; to++, this.#next++) {
				labels[to] = this.#drawn[this.#next];
			}
		}
	}
}
