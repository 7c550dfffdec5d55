import {mkdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {projectFolder} from '../../test/support/runtime-process.js';
import {confinedCommand, informationDescriptor} from './confinement.js';

/** The words after an option, each time that it is used. */
function valuesOf(words: readonly string[], option: string, count: number): string[][] {
	return words.flatMap((word, i) => (word === option ? [words.slice(i + 1, i + 1 + count)] : []));
}

function commandFor(files: Parameters<typeof confinedCommand>[0]['files'], stateDirectory = '/nonexistent') {
	return confinedCommand({files, modulePaths: [], stateDirectory}, ['main.js', 'word']);
}

test('bubblewrap runs this Node.js with the given words, and nothing of the host is shared', t => {
	const {command, arguments: words} = commandFor([]);
	t.is(command, 'bwrap');
	t.deepEqual(words.slice(-3), [process.execPath, 'main.js', 'word']);
	for (const option of ['ipc', 'pid', 'net', 'uts', 'cgroup-try'].map(name => `--unshare-${name}`)) {
		t.true(words.includes(option), option);
	}

	t.true(words.includes('--die-with-parent') && words.includes('--new-session'));
	t.deepEqual(valuesOf(words, '--cap-drop', 1), [['ALL']]);
	t.deepEqual(valuesOf(words, '--info-fd', 1), [[String(informationDescriptor)]]);
	t.is(words.includes('--unshare-user'), process.getuid?.() !== 0);
});

test('what a component reaches is bound as it may be used; what is not there is left out', t => {
	const folder = temporaryDirectory();
	const [written, read] = ['written', 'read'].map(name => join(folder, name));
	writeFileSync(written, '');
	writeFileSync(read, '');
	const {arguments: words} = commandFor([
		{path: written, writable: true},
		{path: read, writable: false},
		{path: join(folder, 'missing'), writable: true},
		{path: '/dev/null', writable: true},
	]);
	t.true(valuesOf(words, '--bind', 2).some(pair => pair.join() === `${written},${written}`));
	t.true(valuesOf(words, '--ro-bind', 2).some(pair => pair.join() === `${read},${read}`));
	t.true(valuesOf(words, '--dev-bind', 2).some(pair => pair.join() === '/dev/null,/dev/null'));
	t.false(words.includes(join(folder, 'missing')));
	t.deepEqual(
		valuesOf(words, '--bind', 2).map(([path]) => path),
		[written],
		'nothing else can be written',
	);
	t.true(
		valuesOf(words, '--dir', 1).some(([path]) => path === folder),
		'the folders above are there',
	);
});

test('a state directory among the modules is hidden, but for what the component reaches', t => {
	const state = join(projectFolder, 'dist', 'state-of-a-test');
	const {arguments: words} = commandFor([{path: '/dev/null', writable: true}], state);
	t.deepEqual(valuesOf(words, '--tmpfs', 1), [[state]]);
	t.deepEqual(valuesOf(commandFor([], '/var/lib/cbe').arguments, '--tmpfs', 1), []);
});

test('a module outside of the project brings its folder, and the packages around it', t => {
	const folder = temporaryDirectory();
	mkdirSync(join(folder, 'node_modules'));
	mkdirSync(join(folder, 'dist'));
	writeFileSync(join(folder, 'package.json'), '{}');
	const {arguments: words} = confinedCommand(
		{files: [], modulePaths: [join(folder, 'dist/component.js')], stateDirectory: '/nonexistent'},
		[],
	);
	const shown = valuesOf(words, '--ro-bind', 2).map(([path]) => path);
	for (const path of ['dist', 'node_modules', 'package.json'].map(name => join(folder, name))) {
		t.true(shown.includes(path), path);
	}
});
