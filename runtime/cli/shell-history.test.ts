import {mkdtempSync, readFileSync, rmSync, statSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join, posix} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {ShellHistory, historyLineCountMax, mayBeKept} from './shell-history.js';
import type {TreeEntry} from './shell-tree.js';

const files: Readonly<Record<string, boolean>> = {
	'/control/create_snapshot': false,
	'/control/unlock': true,
	'/control/future_secret': true,
	'/current/data': false,
	'/snapshots/7/data': false,
};

function entry(name: string, kind: TreeEntry['kind'], takesSecret: boolean): TreeEntry {
	return {name, kind, mode: 0o600, byteLength: 0, takesSecret};
}

/** A tree that a shell in `directory` looks at. */
function treeAt(directory: string) {
	return {
		async describe(path: string) {
			const found = posix.resolve(directory, path);
			if (!Object.hasOwn(files, found)) {
				throw new Error(`there is no ${path}`);
			}

			return entry(posix.basename(found), 'file', files[found]);
		},
		async list(path: string) {
			const base = path.endsWith('/') ? path : `${path}/`;
			const below = Object.keys(files)
				.filter(file => file.startsWith(base))
				.map(file => file.slice(base.length));
			return [...new Set(below.map(file => file.split('/')[0]))].map(name =>
				below.includes(name) ? entry(name, 'file', files[base + name]) : entry(name, 'directory', false),
			);
		},
	};
}

function withFile(t: ExecutionContext): string {
	const folder = mkdtempSync(join(tmpdir(), 'cbe-'));
	t.teardown(() => {
		rmSync(folder, {recursive: true});
	});
	return join(folder, 'shell_history');
}

test('a line that writes into a file which takes a secret is not kept, however the file is named', async t => {
	for (const [directory, line] of [
		['/', 'echo correct horse > control/unlock'],
		['/', 'echo correct horse>/control/../control/unlock'],
		['/', 'watch echo correct horse > "control/unlock"'],
		['/', 'echo > control/unlock correct horse'],
		['/control', 'echo correct horse > unlock'],
		['/control', 'echo correct horse > future_secret'],
		['/current', 'dd if=host:passphrase of=../control/unlock'],
		['/', 'unlock correct horse'],
		['/current', 'watch unlock correct horse'],
		// Slips, behind which a secret may stand.
		['/', 'echo correct horse > control/unlok'],
		['/', 'echo "correct horse > control/unlock'],
	]) {
		t.false(await mayBeKept(line, treeAt(directory)), `${directory}: ${line}`);
	}

	for (const line of [
		'ls -l',
		'echo true > control/create_snapshot',
		'dd if=current/data of=host:copy.img',
		'cat control/unlock',
		'dd if=host:a of=current/data',
	]) {
		t.true(await mayBeKept(line, treeAt('/')), line);
	}
});

test('secrets that an earlier version has kept are gone from the file and from where they lay in it', async t => {
	const file = withFile(t);
	writeFileSync(
		file,
		'ls -l\necho correct horse > control/unlock\ncd control\necho battery staple > unlock\necho x > future_secret\ndd if=host:a of=current/data\n',
		{mode: 0o644},
	);
	const tree = treeAt('/');
	const locked = {
		list: async (path: string) =>
			path.startsWith('/current') ? Promise.reject(new Error('locked')) : tree.list(path),
	};
	const history = await ShellHistory.load(file, locked);
	const kept = ['ls -l', 'cd control', 'dd if=host:a of=current/data'];
	t.deepEqual(history.lines, kept);
	t.is(readFileSync(file, 'utf8'), kept.map(line => `${line}\n`).join(''));
	t.is(statSync(file).mode & 0o777, 0o600);

	const shown = ['echo battery staple > control/unlock'];
	history.showIn(shown);
	t.deepEqual(shown, kept, 'the terminal offers what is kept, and nothing else');
	history.add('cd control');
	t.deepEqual(shown, ['cd control', 'ls -l', 'dd if=host:a of=current/data']);
	t.is(readFileSync(file, 'utf8'), shown.map(line => `${line}\n`).join(''));
});

test('the history is made for its owner alone, and bounded', async t => {
	const file = withFile(t);
	const history = await ShellHistory.load(file, treeAt('/'));
	for (let i = 0; i < historyLineCountMax + 3; i++) {
		history.add(`ls ${i}`);
	}

	t.is(statSync(file).mode & 0o777, 0o600);
	t.is(readFileSync(file, 'utf8').split('\n').length - 1, historyLineCountMax);
	t.is(history.lines[0], `ls ${historyLineCountMax + 2}`);
});
