import {randomBytes} from 'node:crypto';
import test from 'ava';
import {formatRecoveryKey, parseRecoveryKey, recoveryKeyLength} from './recovery-key.js';

test('what is printed can be typed in again, in any case, with or without groups, and with lookalikes', t => {
	for (let i = 0; i < 200; i++) {
		const key = i === 0 ? Buffer.alloc(recoveryKeyLength) : randomBytes(recoveryKeyLength);
		const text = formatRecoveryKey(key);
		t.regex(text, /^[\dA-HJKMNP-TV-Z]{6}(?:-[\dA-HJKMNP-TV-Z]{6}){5}$/);
		for (const typed of [text, text.toLowerCase(), text.replaceAll('-', ''), text.replaceAll('-', ' '), `${text}\n`, text.replaceAll('0', 'o').replaceAll('1', 'l')]) {
			t.deepEqual(parseRecoveryKey(Buffer.from(typed)), key, typed);
		}
	}
});

test('a slip is told from a wrong key', t => {
	const text = formatRecoveryKey(randomBytes(recoveryKeyLength));
	let slipped = 0;
	for (let i = 0; i < text.length; i++) {
		if (text[i] !== '-') {
			const other = text[i] === '7' ? '8' : '7';
			slipped += parseRecoveryKey(Buffer.from(text.slice(0, i) + other + text.slice(i + 1))) === 'mistyped' ? 1 : 0;
		}
	}

	t.is(slipped, 36);
	t.is(parseRecoveryKey(Buffer.from('correct horse battery staple')), 'other');
	t.is(parseRecoveryKey(Buffer.from(text.slice(1))), 'other');
	t.is(parseRecoveryKey(Buffer.from(`${text}0`)), 'other');
	t.is(parseRecoveryKey(Buffer.alloc(0)), 'other');
});
