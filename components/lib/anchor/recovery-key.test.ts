import {randomBytes} from 'node:crypto';
import test from 'ava';
import {formatRecoveryKey, parseRecoveryKey, recoveryKeyLength} from './recovery-key.js';

test('what is printed can be typed in again, in any case, with or without groups, and with lookalikes', t => {
	for (let i = 0; i < 200; i++) {
		const key = i === 0 ? Buffer.alloc(recoveryKeyLength) : randomBytes(recoveryKeyLength);
		const text = formatRecoveryKey(key);
		t.regex(text, /^[\dA-HJKMNP-TV-Z]{6}(?:-[\dA-HJKMNP-TV-Z]{6}){5}$/);
		for (const typed of [
			text,
			text.toLowerCase(),
			text.replaceAll('-', ''),
			text.replaceAll('-', ' '),
			`${text}\n`,
			text.replaceAll('0', 'o').replaceAll('1', 'l'),
		]) {
			t.deepEqual(parseRecoveryKey(Buffer.from(typed)), key, typed);
		}
	}
});

test('what programs make of typed hyphens and spaces counts for nothing, and so does a byte order mark', t => {
	const key = randomBytes(recoveryKeyLength);
	const text = formatRecoveryKey(key);
	const inPlaceOfHyphens: string[] = [];
	for (let code = 0; code <= 0xff_ff; code++) {
		const character = String.fromCharCode(code);
		if (/\p{Pd}|\p{Z}|[\u2212\u2043\u200B-\u200F\u2060\u00AD\uFEFF]/u.test(character)) {
			inPlaceOfHyphens.push(character);
		}
	}

	t.true(inPlaceOfHyphens.length > 40);
	for (const character of inPlaceOfHyphens) {
		t.deepEqual(
			parseRecoveryKey(Buffer.from(text.replaceAll('-', character))),
			key,
			character.charCodeAt(0).toString(16),
		);
	}

	const fullWidth = text.replaceAll(/[^-]/g, character => String.fromCharCode(character.charCodeAt(0) + 0xfe_e0));
	for (const typed of [
		`\uFEFF${text}\r\n`,
		text.toLowerCase().replaceAll('-', ' \u2013 '),
		text.replaceAll('-', '\u00A0'),
		fullWidth,
		fullWidth.toLowerCase(),
	]) {
		t.deepEqual(parseRecoveryKey(Buffer.from(typed)), key, typed);
	}

	for (const byte of [0x96, 0x97, 0xa0]) {
		t.deepEqual(
			parseRecoveryKey(Buffer.from(text.replaceAll('-', String.fromCharCode(byte)), 'latin1')),
			key,
			`the byte ${byte} of Windows-1252`,
		);
	}

	for (const other of [text.replace('-', '\u00E9'), text.replace('-', '\u{1F600}'), text.replace('-', '\u0660')]) {
		t.is(parseRecoveryKey(Buffer.from(other)), 'other', other);
	}
});

test('a slip is told from a wrong key', t => {
	const text = formatRecoveryKey(randomBytes(recoveryKeyLength));
	let slipped = 0;
	for (let i = 0; i < text.length; i++) {
		if (text[i] !== '-') {
			const other = text[i] === '7' ? '8' : '7';
			slipped +=
				parseRecoveryKey(Buffer.from(text.slice(0, i) + other + text.slice(i + 1))) === 'mistyped' ? 1 : 0;
		}
	}

	t.is(slipped, 36);
	t.is(parseRecoveryKey(Buffer.from('correct horse battery staple')), 'other');
	t.is(parseRecoveryKey(Buffer.from(text.slice(1))), 'other');
	t.is(parseRecoveryKey(Buffer.from(`${text}0`)), 'other');
	t.is(parseRecoveryKey(Buffer.alloc(0)), 'other');
});
