/**
 * A passphrase on its way to the trust anchor: an envelope that only the anchor can open, in hexadecimal, as it also
 * travels in JSON.
 */
import {z} from 'zod';

const envelopeByteLengthMax = 2048;

export const SealedSecret = z
	.string()
	.max(2 * envelopeByteLengthMax)
	.regex(/^(?:[\da-f]{2})+$/, 'an envelope in hexadecimal is required');
