import test from 'ava';
import {parseExtension, parseGeneration, parseTrigger} from './command.js';

for (const [text, expected] of [
	['tree=vbd,blocks=65536', {tree: 'vbd', blockCount: 65_536}],
	['tree=vbd, blocks=65536', {tree: 'vbd', blockCount: 65_536}],
	['tree=ft,  blocks=16384', {tree: 'ft', blockCount: 16_384}],
	['blocks=1,tree=ft', {tree: 'ft', blockCount: 1}],
] as const) {
	test(`"${text}" is an extension`, t => {
		t.deepEqual(parseExtension(text), expected);
	});
}

for (const text of [
	'',
	'true',
	'tree=vbd',
	'blocks=5',
	'tree=xx,blocks=5',
	'tree=vbd,blocks=',
	'tree=vbd,blocks=0',
	'tree=vbd,blocks=-5',
	'tree=vbd,blocks=1e3',
	'tree=vbd,blocks=0x10',
	'tree=vbd,blocks=99999999999999999999',
	'tree=vbd,blocks=5,blocks=6',
	'tree=vbd,blocks=5,x=6',
	'tree=vbd blocks=5',
	'tree=vbd,blocks=5,',
]) {
	test(`"${text}" is no extension`, t => {
		t.throws(() => parseExtension(text), {name: 'FileError', code: 'EINVAL'});
	});
}

test('generations are decimal numbers', t => {
	t.is(parseGeneration('12130'), 12_130);
	for (const text of ['', '99999999999999999']) {
		t.throws(() => parseGeneration(text), {code: 'EINVAL'});
	}

	for (const text of ['-1', '1.5', '0x1', 'true', '1 2', 'before upgrade']) {
		t.is(parseGeneration(text), undefined, 'a name');
	}
});

test('a trigger is "true" and nothing else', t => {
	t.notThrows(() => parseTrigger('true'));
	for (const text of ['', 'false', 'TRUE', '1', 'true true']) {
		t.throws(() => parseTrigger(text), {code: 'EINVAL'});
	}
});
