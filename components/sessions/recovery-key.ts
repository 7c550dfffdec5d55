/**
 * Recovery keys: 160 random bits for paper, in an alphabet without letters that look like digits (Crockford's base 32),
 * six groups of six. The last four characters are a checksum, so that a slip of the pen is told from a wrong key.
 */
import {createHash} from 'node:crypto';
import {secretBytes} from '../../runtime/sdk/secret-memory.js';

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
export const recoveryKeyLength = 20;
const checksumCharacterCount = 4;
const characterCount = (recoveryKeyLength * 8 / 5) + checksumCharacterCount;
const groupLength = 6;
const separators = [0x09, 0x0a, 0x0b, 0x0c, 0x0d, 0x20, 0x2d, 0xa0];
const noDigit = 0xff;
const separator = 0xfe;

/** What each character stands for. */
const digits = Buffer.alloc(256, noDigit);
for (const [value, character] of [...alphabet].entries()) {
	digits[character.charCodeAt(0)] = value;
	digits[character.toLowerCase().charCodeAt(0)] = value;
}

for (const [lookalike, character] of Object.entries({O: '0', o: '0', I: '1', i: '1', L: '1', l: '1'})) {
	digits[lookalike.charCodeAt(0)] = alphabet.indexOf(character);
}

for (const character of separators) {
	digits[character] = separator;
}

/** 5 bits a character. */
function toCharacters(bytes: Uint8Array): string {
	let bits = 0n;
	for (const byte of bytes) {
		bits = (bits << 8n) | BigInt(byte);
	}

	let text = '';
	for (let left = bytes.length * 8; left > 0; left -= 5) {
		text += alphabet[Number((bits >> BigInt(left - 5)) & 31n)];
	}

	return text;
}

function checksumOf(key: Uint8Array): string {
	return toCharacters(createHash('sha256').update('cbe recovery key').update(key).digest().subarray(0, 5)).slice(0, checksumCharacterCount);
}

export function formatRecoveryKey(key: Uint8Array): string {
	const text = toCharacters(key) + checksumOf(key);
	return text.match(new RegExp(`.{${groupLength}}`, 'g'))!.join('-');
}

/** What a text is: no recovery key at all, one with a slip in it, or a key, which the caller wipes. */
export type ParsedRecoveryKey = 'other' | 'mistyped' | Buffer;

/** The digits of a recovery key; undefined where the text is none. */
function readDigits(text: Uint8Array): Buffer | undefined {
	const values = secretBytes(characterCount);
	let count = 0;
	for (const character of text) {
		const value = digits[character];
		if (value === noDigit || (value !== separator && count === characterCount)) {
			values.fill(0);
			return undefined;
		}

		if (value !== separator) {
			values[count++] = value;
		}
	}

	return count === characterCount ? values : undefined;
}

/** Makes no text of it: what is typed may be a passphrase, and text stays in memory, where nobody can wipe it. */
export function parseRecoveryKey(text: Uint8Array): ParsedRecoveryKey {
	const values = readDigits(text);
	if (!values) {
		return 'other';
	}

	const key = secretBytes(recoveryKeyLength);
	for (let bit = 0; bit < recoveryKeyLength * 8; bit++) {
		key[bit >> 3] |= ((values[Math.floor(bit / 5)] >> (4 - (bit % 5))) & 1) << (7 - (bit & 7));
	}

	const checksum = Array.from(values.subarray(-checksumCharacterCount), value => alphabet[value]).join('');
	values.fill(0);
	if (checksumOf(key) === checksum) {
		return key;
	}

	key.fill(0);
	return 'mistyped';
}
