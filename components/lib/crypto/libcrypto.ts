/**
 * The functions of libcrypto that the node binary itself exports, called without any glue of our own. See the manual
 * pages EVP_EncryptInit(3) and EVP_DigestInit(3) of OpenSSL 3.
 *
 * Addresses are plain numbers: user space ends far below 2^53, and numbers cost no allocation.
 */
export type Address = number;
type Nullable = Address | null;

/** All functions that return a number return 1 for success. */
export interface Libcrypto {
	readonly cipherFetch: (context: null, name: string, properties: null) => bigint | null;
	readonly digestFetch: (context: null, name: string, properties: null) => bigint | null;
	readonly contextNew: () => bigint | null;
	/** Also what the original derived from its key. */
	readonly contextCopy: (copy: Address, original: Address) => number;
	/** Wipes what the context derived from its key, too. */
	readonly contextFree: (context: Address) => void;
	readonly contextSetPadding: (context: Address, padding: 0) => number;
	readonly cipherInit: (
		context: Address,
		cipher: Nullable,
		key: Nullable,
		iv: Nullable,
		encrypt: 0 | 1 | -1,
		parameters: null,
	) => number;
	readonly cipherUpdate: (
		context: Address,
		output: Nullable,
		outputLength: Address,
		input: Address,
		inputLength: number,
	) => number;
	/** For an authenticated cipher: 1 only where the tag matches. */
	readonly cipherFinal: (context: Address, output: Address, outputLength: Address) => number;
	readonly contextControl: (context: Address, command: number, argument: number, memory: Address) => number;
	/**
	 * Where `bytes` begins. Valid as long as the memory behind it is reachable; the caller has checked that it is
	 * there.
	 */
	readonly addressOf: (bytes: Uint8Array) => Address;
	readonly digest: (
		data: Address,
		length: number,
		digest: Address,
		digestLength: null,
		type: Address,
		engine: null,
	) => number;
}

const pointer = 'void *';
const text = 'const char *';

/** Undefined where this node binary does not export what is needed, or cannot be called into; `reason` says why. */
export async function loadLibcrypto(): Promise<{readonly libcrypto?: Libcrypto; readonly reason: string}> {
	try {
		// Loaded here and not above: on a platform without a build of it, the other implementation still works.
		const {default: koffi} = await import('koffi');
		const {addressOf} = await import('../../../runtime/sdk/memory-address.js');
		const library = koffi.load(null);
		// The one place where the C declarations are given their types.
		const declare = <T>(name: string, result: string, parameters: string[]) =>
			library.func(name, result, parameters) as unknown as T;
		const libcrypto: Libcrypto = {
			cipherFetch: declare('EVP_CIPHER_fetch', pointer, [pointer, text, text]),
			digestFetch: declare('EVP_MD_fetch', pointer, [pointer, text, text]),
			contextNew: declare('EVP_CIPHER_CTX_new', pointer, []),
			contextCopy: declare('EVP_CIPHER_CTX_copy', 'int', [pointer, pointer]),
			contextFree: declare('EVP_CIPHER_CTX_free', 'void', [pointer]),
			contextSetPadding: declare('EVP_CIPHER_CTX_set_padding', 'int', [pointer, 'int']),
			cipherInit: declare('EVP_CipherInit_ex2', 'int', [pointer, pointer, pointer, pointer, 'int', pointer]),
			cipherUpdate: declare('EVP_CipherUpdate', 'int', [pointer, pointer, pointer, pointer, 'int']),
			cipherFinal: declare('EVP_CipherFinal_ex', 'int', [pointer, pointer, pointer]),
			contextControl: declare('EVP_CIPHER_CTX_ctrl', 'int', [pointer, 'int', 'int', pointer]),
			digest: declare('EVP_Digest', 'int', [pointer, 'size_t', pointer, pointer, pointer, pointer]),
			addressOf,
		};
		return {libcrypto, reason: ''};
	} catch (error) {
		return {reason: error instanceof Error ? error.message : String(error)};
	}
}
