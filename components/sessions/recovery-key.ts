/**
 * Recovery keys: 160 random bits for paper, in an alphabet without letters that look like digits (Crockford's base 32),
 * six groups of six. The last four characters are a checksum, so that a slip of the pen is told from a wrong key.
 */
import {createHash} from 'node:crypto';

const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
export const recoveryKeyLength = 20;
const checksumCharacterCount = 4;
const characterCount = (recoveryKeyLength * 8 / 5) + checksumCharacterCount;
const groupLength = 6;
const lookalikes: Readonly<Record<string, string>> = {O: '0', I: '1', L: '1'};

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

export function parseRecoveryKey(text: Uint8Array): ParsedRecoveryKey {
	const characters = Buffer.from(text).toString('latin1').toUpperCase().replaceAll(/[\s-]/g, '').replaceAll(/[OIL]/g, letter => lookalikes[letter]);
	const values = Array.from(characters, character => alphabet.indexOf(character));
	if (values.length !== characterCount || values.includes(-1)) {
		return 'other';
	}

	let bits = 0n;
	for (const value of values.slice(0, -checksumCharacterCount)) {
		bits = (bits << 5n) | BigInt(value);
	}

	const key = Buffer.from(bits.toString(16).padStart(recoveryKeyLength * 2, '0'), 'hex');
	return checksumOf(key) === characters.slice(-checksumCharacterCount) ? key : 'mistyped';
}
