import {execFileSync} from 'node:child_process';
import test from 'ava';
import {shellWord} from './shell-word.js';

test('a shell gets the text as it is, in one word', t => {
	for (const text of ['/var/lib/cbe', '/srv/mein Gerät', '/a/$HOME/`id`', "it's", '"', '*', '', 'a;b&c', '\\']) {
		t.is(execFileSync('sh', ['-c', `printf '<%s>' ${shellWord(text)}`], {encoding: 'utf8'}), `<${text}>`);
	}
});

test('usual paths are left as they are', t => {
	t.is(shellWord('/tmp/w-1/cbe.d/current/data'), '/tmp/w-1/cbe.d/current/data');
});
