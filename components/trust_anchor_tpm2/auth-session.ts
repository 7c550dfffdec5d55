/**
 * One authorization session (TPM 2.0 part 1, sections 17 to 19): proves to each side that the other knows the session
 * key and the object's authorization value, and encrypts the first parameter of a command or a response on its way.
 */
import {createCipheriv, createDecipheriv, createHash, createHmac, timingSafeEqual} from 'node:crypto';
import {freshBytes, type Entropy} from './fresh-bytes.js';
import {deriveByKdfa} from './key-derivation.js';
import {TpmError} from './tpm-error.js';
import {type TpmReader, TpmWriter} from './tpm-buffer.js';

export const nonceLength = 32;
const macLength = 32;
const cipher = 'aes-128-cfb';
const cipherKeyLength = 16;
const cipherIvLength = 16;

/** TPMA_SESSION: the session stays for the next command. */
const continueAttribute = 0x01;
/** TPMA_SESSION: the first parameter of the command is encrypted. */
const decryptAttribute = 0x20;
/** TPMA_SESSION: the first parameter of the response is encrypted. */
const encryptAttribute = 0x40;

/** Something in the TPM, by the name that authorizations speak about. */
export interface Entity {
	readonly handle: number;
	readonly name: Uint8Array;
}

/** Hierarchies and PCRs are their own names. */
export function permanentEntity(handle: number): Entity {
	return {handle, name: new TpmWriter().u32(handle).bytes()};
}

export interface Authorization {
	readonly session: AuthSession;
	/** The authorization value of the entity that the command's first handle names. */
	readonly authValue?: Uint8Array;
	readonly encryptCommand?: boolean;
	readonly encryptResponse?: boolean;
}

/** TPMs drop zeros at the end of authorization values before they use them. */
function withoutTrailingZeros(authValue: Uint8Array): Uint8Array {
	let length = authValue.length;
	while (length > 0 && authValue[length - 1] === 0) {
		length--;
	}

	return authValue.subarray(0, length);
}

function sha256(...pieces: Uint8Array[]): Buffer {
	const hash = createHash('sha256');
	for (const piece of pieces) {
		hash.update(piece);
	}

	return hash.digest();
}

export interface SessionSecrets {
	/** Empty for a session that is salted with nothing: then the authorization values alone have to be strong. */
	readonly sessionKey: Buffer;
	readonly nonceTpm: Buffer;
	/**
	 * Policy sessions prove knowledge of the authorization value only where the policy demands it; the encryption of
	 * parameters uses it in any case.
	 */
	readonly provesAuthValue: boolean;
}

export class AuthSession {
	readonly handle: number;
	readonly #env: Entropy;
	readonly #sessionKey: Buffer;
	readonly #provesAuthValue: boolean;
	#nonceTpm: Buffer;
	#nonceCaller: Buffer = Buffer.alloc(0);

	constructor(handle: number, {sessionKey, nonceTpm, provesAuthValue}: SessionSecrets, env: Entropy) {
		this.handle = handle;
		this.#sessionKey = sessionKey;
		this.#nonceTpm = nonceTpm;
		this.#provesAuthValue = provesAuthValue;
		this.#env = env;
	}

	/** Encrypts the content of a command's first parameter in place. Comes before `authorize` of the same command. */
	prepare({authValue, encryptCommand}: Authorization, firstParameter: Buffer | undefined): void {
		this.#nonceCaller = freshBytes(this.#env, nonceLength);
		if (encryptCommand && firstParameter) {
			this.#withCipherKey(authValue, this.#nonceCaller, this.#nonceTpm, (key, iv) => {
				createCipheriv(cipher, key, iv).update(firstParameter).copy(firstParameter);
			});
		}
	}

	/** The entry of the authorization area for a command with these (already encrypted) parameters. */
	authorize(
		authorization: Authorization,
		code: number,
		names: readonly Uint8Array[],
		parameters: Uint8Array,
	): Buffer {
		const attributes =
			continueAttribute |
			(authorization.encryptCommand ? decryptAttribute : 0) |
			(authorization.encryptResponse ? encryptAttribute : 0);
		const commandHash = sha256(new TpmWriter().u32(code).bytes(), ...names, parameters);
		const mac = this.#mac(authorization, commandHash, this.#nonceCaller, this.#nonceTpm, attributes);
		return new TpmWriter().u32(this.handle).sized(this.#nonceCaller).u8(attributes).sized(mac).bytes();
	}

	/**
	 * Checks the authorization area of a successful response; nobody but a TPM that knows the secrets can have made it.
	 * @throws TpmError where it is not right
	 */
	check(authorization: Authorization, code: number, parameters: Uint8Array, area: TpmReader): void {
		const nonceTpm = Buffer.from(area.sized());
		const attributes = area.u8();
		const mac = area.sized();
		area.end();
		const responseHash = sha256(new TpmWriter().u32(0).u32(code).bytes(), parameters);
		const expected = this.#mac(authorization, responseHash, nonceTpm, this.#nonceCaller, attributes);
		if (mac.length !== macLength || !timingSafeEqual(mac, expected)) {
			throw new TpmError(
				'malformed',
				'the answer is not authentic: something between this program and the TPM altered it, or it is another TPM',
			);
		}

		this.#nonceTpm = nonceTpm;
	}

	/** Decrypts the content of a response's first parameter in place. Comes after `check`. */
	reveal({authValue}: Authorization, firstParameter: Buffer): void {
		this.#withCipherKey(authValue, this.#nonceTpm, this.#nonceCaller, (key, iv) => {
			const plain = createDecipheriv(cipher, key, iv).update(firstParameter);
			plain.copy(firstParameter);
			plain.fill(0);
		});
	}

	wipe(): void {
		this.#sessionKey.fill(0);
	}

	#mac(
		{authValue}: Authorization,
		parameterHash: Buffer,
		nonceNewer: Buffer,
		nonceOlder: Buffer,
		attributes: number,
	): Buffer {
		const proven = this.#provesAuthValue && authValue ? withoutTrailingZeros(authValue) : Buffer.alloc(0);
		const key = Buffer.concat([this.#sessionKey, proven]);
		try {
			return createHmac('sha256', key)
				.update(parameterHash)
				.update(nonceNewer)
				.update(nonceOlder)
				.update(Buffer.of(attributes))
				.digest();
		} finally {
			key.fill(0);
		}
	}

	#withCipherKey(
		authValue: Uint8Array | undefined,
		nonceNewer: Buffer,
		nonceOlder: Buffer,
		job: (key: Buffer, iv: Buffer) => void,
	): void {
		const sessionValue = Buffer.concat([this.#sessionKey, withoutTrailingZeros(authValue ?? Buffer.alloc(0))]);
		const derived = deriveByKdfa(sessionValue, 'CFB', nonceNewer, nonceOlder, cipherKeyLength + cipherIvLength);
		try {
			job(derived.subarray(0, cipherKeyLength), derived.subarray(cipherKeyLength));
		} finally {
			derived.fill(0);
			sessionValue.fill(0);
		}
	}
}
