/** The published vectors in test/contract/vectors, read and decoded. */
import {readFileSync} from 'node:fs';
import {z} from 'zod';

// Compiled tests run from dist/test/support.
const folder = new URL('../../../test/contract/vectors/', import.meta.url);

const Hex = z
	.string()
	.regex(/^(?:[\da-f]{2})*$/)
	.transform(text => Buffer.from(text, 'hex'));

function read<S extends z.ZodType>(name: string, vector: S): ReadonlyArray<z.infer<S>> {
	return z
		.array(vector)
		.min(1)
		.parse(JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8')));
}

export const cbcVectors = read('cbc', z.strictObject({source: z.string(), key: Hex, iv: Hex, plain: Hex, sealed: Hex}));

/** `unit` is the number of the data unit as 8 bytes, little-endian. */
export const essivVectors = read(
	'essiv',
	z.strictObject({source: z.string(), key: Hex, unit: Hex, plain: Hex, sealed: Hex}),
);

export const xtsVectors = read(
	'xts',
	z.strictObject({source: z.string(), key: Hex, unit: z.number(), plain: Hex, sealed: Hex}),
);

/** Those that are not valid must be refused; they have no plaintext. */
export const gcmVectors = read(
	'gcm',
	z.strictObject({
		source: z.string(),
		key: Hex,
		nonce: Hex,
		context: Hex,
		plain: Hex,
		sealed: Hex,
		tag: Hex,
		valid: z.boolean(),
	}),
);

export const hkdfVectors = read('hkdf', z.strictObject({source: z.string(), ikm: Hex, salt: Hex, info: Hex, okm: Hex}));
