import {chmodSync, readdirSync, readFileSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {replaceFile} from './replaced-file.js';

test('the text is another one, whose file it is and who may read it stays', t => {
	const folder = temporaryDirectory();
	const file = join(folder, 'my.xml');
	writeFileSync(file, 'before');
	chmodSync(file, 0o640);
	const before = statSync(file);
	replaceFile(file, 'after');
	t.is(readFileSync(file, 'utf8'), 'after');
	const after = statSync(file);
	t.is(after.mode, before.mode);
	t.is(after.uid, before.uid);
	t.not(after.ino, before.ino, 'whoever has the old one open reads the old one');
	t.deepEqual(readdirSync(folder), ['my.xml']);
});

test('where it cannot be done the file is as it was, and nothing is left beside it', t => {
	const folder = temporaryDirectory();
	const file = join(folder, 'my.xml');
	t.throws(
		() => {
			replaceFile(file, 'after');
		},
		{code: 'ENOENT'},
	);
	t.deepEqual(readdirSync(folder), []);
	writeFileSync(file, 'before');
	// Somebody else's new file is in the way, and stays.
	const other = join(folder, `.my.xml.${process.pid}`);
	symlinkSync('/nonexistent', other);
	t.throws(
		() => {
			replaceFile(file, 'after');
		},
		{code: 'EEXIST'},
	);
	t.is(readFileSync(file, 'utf8'), 'before');
	t.deepEqual(readdirSync(folder).sort(), [`.my.xml.${process.pid}`, 'my.xml']);
});
