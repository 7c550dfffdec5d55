import {existsSync, mkdirSync, readFileSync, statSync, symlinkSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {makeReady} from './reached-files.js';

/** Somebody without rights. */
const nobody = 65_534;
const isRoot = process.getuid?.() === 0;
const asRoot = isRoot ? test : test.skip;

const modeOf = (path: string) => statSync(path).mode & 0o777;

test('what is not there yet is made, for its owner alone', t => {
	const state = temporaryDirectory();
	const ready = makeReady(
		[
			{path: 'image', writable: true, made: 'file'},
			{path: 'anchor/inner', writable: true, made: 'directory'},
			{path: 'deep/er/file', writable: false, made: 'file'},
			{path: 'nothing', writable: true},
			{path: '/absolute/nothing', writable: false},
		],
		state,
		undefined,
	);
	t.deepEqual(
		ready.map(({path}) => path),
		[
			join(state, 'image'),
			join(state, 'anchor/inner'),
			join(state, 'deep/er/file'),
			join(state, 'nothing'),
			'/absolute/nothing',
		],
	);
	t.is(modeOf(join(state, 'image')), 0o600);
	t.is(modeOf(join(state, 'anchor/inner')), 0o700);
	t.is(modeOf(join(state, 'deep')), 0o700);
	t.true(statSync(join(state, 'deep/er/file')).isFile());
	t.false(existsSync(join(state, 'nothing')));
});

test('what is there stays as it is', t => {
	const state = temporaryDirectory();
	writeFileSync(join(state, 'image'), 'content', {mode: 0o640});
	const before = modeOf(join(state, 'image'));
	makeReady([{path: 'image', writable: true, made: 'file'}], state, undefined);
	t.is(readFileSync(join(state, 'image'), 'utf8'), 'content');
	t.is(modeOf(join(state, 'image')), before);
});

test('what cannot be made is told', t => {
	const state = temporaryDirectory();
	writeFileSync(join(state, 'file'), '');
	t.throws(() => makeReady([{path: 'file/below', writable: true, made: 'file'}], state, undefined), {
		message: /ENOTDIR|EEXIST/,
	});
});

asRoot('a writable file of root goes to the user, and the files in a writable folder', t => {
	const state = temporaryDirectory();
	mkdirSync(join(state, 'anchor/inner'), {recursive: true});
	for (const name of ['image', 'readable', 'outside', 'anchor/key', 'anchor/inner/deep']) {
		writeFileSync(join(state, name), '');
	}

	symlinkSync(join(state, 'outside'), join(state, 'anchor/link'));
	makeReady(
		[
			{path: 'image', writable: true},
			{path: 'readable', writable: false},
			{path: 'anchor', writable: true},
			{path: '/dev/null', writable: true},
		],
		state,
		nobody,
	);
	const ownerOf = (name: string) => statSync(join(state, name)).uid;
	t.is(ownerOf('image'), nobody);
	t.is(ownerOf('readable'), 0);
	t.is(ownerOf('anchor'), nobody);
	t.is(ownerOf('anchor/key'), nobody);
	t.is(ownerOf('anchor/inner'), 0);
	t.is(ownerOf('anchor/inner/deep'), 0);
	t.is(ownerOf('outside'), 0, 'a link in the folder leads out of it');
	t.is(statSync('/dev/null').uid, 0);
});
