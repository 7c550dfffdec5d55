import test from 'ava';
import {parseShellLine} from './shell-line.js';

for (const [text, words, target] of [
	['', [], undefined],
	['  ls   -l control ', ['ls', '-l', 'control'], undefined],
	['echo true > control/rekey', ['echo', 'true'], 'control/rekey'],
	['echo true>control/rekey', ['echo', 'true'], 'control/rekey'],
	['echo \'a  b\' "c > d"e', ['echo', 'a  b', 'c > de'], undefined],
	['> x echo y', ['echo', 'y'], 'x'],
] as const) {
	test(`"${text}"`, t => {
		t.deepEqual(parseShellLine(text), {words: [...words], target});
	});
}

for (const text of ["echo 'open", 'echo x >', 'echo x > a > b', '>']) {
	test(`"${text}" is not understood`, t => {
		t.throws(() => parseShellLine(text), {name: 'ShellUsageError'});
	});
}
