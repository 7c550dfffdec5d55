/**
 * Secrets that arrive sealed: opened, used once and wiped. A wrong passphrase makes the next answer wait, so that
 * nobody tries many of them through a running anchor.
 */
import type {Environment} from '../../../runtime/sdk/component.js';
import {createRecipient, EnvelopeError, openEnvelope, type EnvelopeRecipient} from '../crypto/key-envelope.js';
import {SessionError, isSessionError} from '../../../runtime/sdk/session.js';
import {Mutex} from '../sync/mutex.js';

/** After the first wrong passphrase; doubled with each further one, up to the limit. */
const firstDelayMs = 1000;
const delayMsMax = 32_000;

export class SecretOpener {
	readonly #env: Environment;
	readonly #mutex = new Mutex('anchor secrets');
	#recipient: EnvelopeRecipient;
	#wrongCount = 0;

	constructor(env: Environment) {
		this.#env = env;
		this.#recipient = createRecipient(count => env.randomBytes(count));
	}

	get publicKey(): Uint8Array {
		return this.#recipient.publicKey;
	}

	/** From now on nobody can open the envelopes made so far. */
	renew(): void {
		this.#recipient = createRecipient(count => this.#env.randomBytes(count));
	}

	/** Opens an envelope. The caller wipes the result. */
	open(sealed: string): Buffer {
		try {
			return openEnvelope(Buffer.from(sealed, 'hex'), this.#recipient);
		} catch (error) {
			if (error instanceof EnvelopeError) {
				throw new SessionError('bad_key', `the passphrase did not arrive: ${error.message}; try again`);
			}

			throw error;
		}
	}

	/** Runs `job` with the opened secret. Jobs run one after another; after a wrong passphrase the answer is late. */
	async use<T>(sealed: string | undefined, job: (secret: Buffer | undefined) => Promise<T>): Promise<T> {
		return this.#mutex.run(async () => {
			const secret = sealed === undefined ? undefined : this.open(sealed);
			try {
				const result = await job(secret);
				if (secret) {
					this.#wrongCount = 0;
				}

				return result;
			} catch (error) {
				if (isSessionError(error) && error.code === 'wrong_passphrase') {
					await this.#env.sleep(Math.min(delayMsMax, firstDelayMs * 2 ** this.#wrongCount));
					this.#wrongCount++;
				}

				throw error;
			} finally {
				secret?.fill(0);
			}
		});
	}
}
