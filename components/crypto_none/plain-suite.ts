/** Blocks as they are, with a label that is real. */
import type {CipherName} from '../sessions/cipher.js';
import type {BlockRun, CipherKey, CipherSuite} from '../lib/crypto/cipher-suite.js';
import {blockSize} from '../sessions/vocabulary.js';

/** Of no key anything is kept, so nothing is left to wipe. */
const copying: CipherKey = {
	encrypt({count, plain, plainOffset, sealed, sealedOffset}: BlockRun) {
		sealed.set(plain.subarray(plainOffset, plainOffset + count * blockSize), sealedOffset);
	},
	decrypt({count, plain, plainOffset, sealed, sealedOffset}: BlockRun) {
		plain.set(sealed.subarray(sealedOffset, sealedOffset + count * blockSize), plainOffset);
	},
	wipe() {
		// Nothing was kept.
	},
};

export class PlainSuite implements CipherSuite {
	readonly name: string;
	readonly #labels: Pick<CipherSuite, 'name' | 'label'>;

	/** @param labels who makes the labels */
	constructor(labels: Pick<CipherSuite, 'name' | 'label'>) {
		this.name = `no cipher, labels by ${labels.name}`;
		this.#labels = labels;
	}

	label(sealed: Uint8Array, sealedOffset: number, count: number, labels: Uint8Array, labelsOffset: number): void {
		this.#labels.label(sealed, sealedOffset, count, labels, labelsOffset);
	}

	prepare(cipher: CipherName): CipherKey | undefined {
		return cipher === 'none' ? copying : undefined;
	}
}
