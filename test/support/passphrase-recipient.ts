/** Who opens what the command line has sealed, as a trust anchor does. */
import {randomBytes} from 'node:crypto';
import {createRecipient, openEnvelope} from '../../components/lib/crypto/key-envelope.js';

export class PassphraseRecipient {
	readonly #recipient = createRecipient(randomBytes);

	/** In hexadecimal. */
	get publicKey(): string {
		return Buffer.from(this.#recipient.publicKey).toString('hex');
	}

	/** @param sealed in hexadecimal */
	open(sealed: string): string {
		return openEnvelope(Buffer.from(sealed, 'hex'), this.#recipient).toString();
	}
}
