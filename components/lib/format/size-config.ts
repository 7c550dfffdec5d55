/** Sizes in a configuration: `4096`, `64K`, `48M`, `1G`, `2T`. */
import {z} from 'zod';

const factors: Readonly<Record<string, number>> = {'': 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40};

/** Bytes of a size as configurations write it, undefined where it is none. */
function parseByteSize(text: string): number | undefined {
	const match = /^(\d{1,15})([KMGT]?)$/.exec(text);
	return match ? Number(match[1]) * factors[match[2]] : undefined;
}

/** A configuration attribute that holds a size; its value is in bytes. */
export function byteSize() {
	return z.string().transform((text, context) => {
		const size = parseByteSize(text);
		if (size === undefined || size === 0) {
			context.addIssue({
				code: 'custom',
				message: `"${text}" is no size; write bytes or a number with K, M, G or T, e.g. 64M`,
			});
			return z.NEVER;
		}

		return size;
	});
}
