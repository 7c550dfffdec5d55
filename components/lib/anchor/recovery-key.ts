/**
 * Recovery keys: 160 random bits for paper, in an alphabet without letters that look like digits (Crockford's base 32),
 * six groups of six. The last four characters are a checksum, so that a slip of the pen is told from a wrong key.
 */
import {createHash} from 'node:crypto';
import {secretBytes} from '../../../runtime/sdk/secret-memory.js';

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
export const recoveryKeyLength = 20;
const checksumCharacterCount = 4;
const characterCount = (recoveryKeyLength * 8) / 5 + checksumCharacterCount;
const groupLength = 6;
const noDigit = 0xff;
const separator = 0xfe;

/**
 * First and last of the code points that count for nothing: control characters, spaces, dashes, what joins or directs
 * text, and the byte order mark. Word processors, phones and editors put them in the place of a typed space or hyphen,
 * or beside it. 0x85 to 0xad are those of Windows-1252 and Latin-1, too.
 */
const separators: ReadonlyArray<readonly [number, number]> = [
	[0x09, 0x0d],
	[0x20, 0x20],
	[0x2d, 0x2d],
	[0x85, 0x85],
	[0x96, 0x97],
	[0xa0, 0xa0],
	[0xad, 0xad],
	[0x05_8a, 0x05_8a],
	[0x05_be, 0x05_be],
	[0x14_00, 0x14_00],
	[0x16_80, 0x16_80],
	[0x18_06, 0x18_06],
	[0x18_0e, 0x18_0e],
	[0x20_00, 0x20_15],
	[0x20_28, 0x20_2f],
	[0x20_43, 0x20_43],
	[0x20_5f, 0x20_64],
	[0x22_12, 0x22_12],
	[0x2e_17, 0x2e_17],
	[0x2e_1a, 0x2e_1a],
	[0x2e_3a, 0x2e_3b],
	[0x2e_40, 0x2e_40],
	[0x2e_5d, 0x2e_5d],
	[0x30_00, 0x30_00],
	[0x30_1c, 0x30_1c],
	[0x30_30, 0x30_30],
	[0x30_a0, 0x30_a0],
	[0xfe_31, 0xfe_32],
	[0xfe_58, 0xfe_58],
	[0xfe_63, 0xfe_63],
	[0xfe_ff, 0xfe_ff],
	[0xff_0d, 0xff_0d],
];

/** Full-width forms, as East Asian keyboards make them, lie this far behind ASCII's. */
const fullWidthFirst = 0xff_01;
const fullWidthLast = 0xff_5e;
const fullWidthDistance = 0xfe_e0;

/** What each character of ASCII stands for. */
const digits = Buffer.alloc(128, noDigit);
for (const [value, character] of [...alphabet].entries()) {
	digits[character.charCodeAt(0)] = value;
	digits[character.toLowerCase().charCodeAt(0)] = value;
}

for (const [lookalike, character] of Object.entries({O: '0', o: '0', I: '1', i: '1', L: '1', l: '1'})) {
	digits[lookalike.charCodeAt(0)] = alphabet.indexOf(character);
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
	return toCharacters(createHash('sha256').update('cbe recovery key').update(key).digest().subarray(0, 5)).slice(
		0,
		checksumCharacterCount,
	);
}

export function formatRecoveryKey(key: Uint8Array): string {
	const text = toCharacters(key) + checksumOf(key);
	return text.match(new RegExp(`.{${groupLength}}`, 'g'))!.join('-');
}

/** What a text is: no recovery key at all, one with a slip in it, or a key, which the caller wipes. */
export type ParsedRecoveryKey = 'other' | 'mistyped' | Buffer;

function valueOf(codePoint: number): number {
	if (separators.some(([first, last]) => codePoint >= first && codePoint <= last)) {
		return separator;
	}

	const character =
		codePoint >= fullWidthFirst && codePoint <= fullWidthLast ? codePoint - fullWidthDistance : codePoint;
	return character < digits.length ? digits[character] : noDigit;
}

/** The character at `offset` of UTF-8, and its length in bytes; a byte that is none counts as one of Latin-1. */
function codePointAt(text: Uint8Array, offset: number): readonly [codePoint: number, length: number] {
	const first = text[offset];
	const length = first >= 0xe0 && first < 0xf0 ? 3 : first >= 0xc2 && first < 0xe0 ? 2 : 1;
	let codePoint = length === 1 ? first : first & (0xff >> (length + 1));
	for (let i = 1; i < length; i++) {
		const byte = text.at(offset + i);
		if (byte === undefined || (byte & 0xc0) !== 0x80) {
			return [first, 1];
		}

		codePoint = (codePoint << 6) | (byte & 0x3f);
	}

	return [codePoint, length];
}

/** The digits of a recovery key; undefined where the text is none. */
function readDigits(text: Uint8Array): Buffer | undefined {
	const values = secretBytes(characterCount);
	let count = 0;
	for (let offset = 0; offset < text.length;) {
		const [codePoint, length] = codePointAt(text, offset);
		const value = valueOf(codePoint);
		offset += length;
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
