/** Commands of the shell on a tree in memory. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join, posix} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {copy} from './shell-copy.js';
import {runShellLine, type ShellContext} from './shell-commands.js';
import {ShellUsageError} from './shell-line.js';
import {transferByteLengthMax, type ShellTree, type TreeEntry} from './shell-tree.js';

/** Answers as the `file_system` service does. */
class MemoryTree {
	readonly files = new Map<string, Buffer>([
		['/control/unlock', Buffer.from('idle\n')],
		['/control/rekey', Buffer.from('idle last-result:none\n')],
		['/current/data', Buffer.alloc(3 * transferByteLengthMax + 5, 'abcdefg')],
	]);
	readonly written: Array<{readonly path: string; readonly offset: number; readonly text: string}> = [];
	readonly synced: string[] = [];
	directory = '/';

	async enter(path: string): Promise<void> {
		await this.list(path);
		this.directory = this.#resolve(path);
	}

	async describe(path: string): Promise<TreeEntry> {
		const found = this.#resolve(path);
		const content = this.files.get(found);
		if (!content && ![...this.files.keys()].some(file => file.startsWith(found === '/' ? '/' : `${found}/`))) {
			throw new Error(`there is no ${path}`);
		}

		return {
			name: posix.basename(found),
			kind: content ? 'file' : 'directory',
			mode: content ? 0o640 : 0o500,
			byteLength: content?.length ?? 0,
			takesSecret: found === '/control/unlock',
		};
	}

	async list(path: string): Promise<TreeEntry[]> {
		const found = this.#resolve(path);
		await this.describe(found);
		const base = found === '/' ? '/' : `${found}/`;
		const names = new Set(
			[...this.files.keys()]
				.filter(file => file.startsWith(base))
				.map(file => file.slice(base.length).split('/')[0]),
		);
		return Promise.all([...names].map(async name => this.describe(base + name)));
	}

	async read(path: string, offset: number, length: number, into?: Buffer): Promise<Buffer> {
		const part = this.files.get(this.#resolve(path))!.subarray(offset, offset + length);
		if (into) {
			part.copy(into);
			return into.subarray(0, part.length);
		}

		return part;
	}

	async write(path: string, offset: number, data: Buffer): Promise<void> {
		const found = this.#resolve(path);
		this.written.push({path: found, offset, text: data.length < 100 ? data.toString() : `${data.length} bytes`});
		data.copy(this.files.get(found)!, offset);
	}

	async sync(path: string): Promise<void> {
		this.synced.push(path);
	}

	#resolve(path: string): string {
		return posix.resolve(this.directory, path);
	}
}

function stand(parts: Partial<ShellContext> = {}) {
	const tree = new MemoryTree();
	const shown: string[] = [];
	const notices: string[] = [];
	const context: ShellContext = {
		tree: tree as unknown as ShellTree,
		write: text => void shown.push(text.toString()),
		signal: new AbortController().signal,
		ask: undefined,
		isArgument: false,
		notice: text => void notices.push(text),
		...parts,
	};
	return {tree, shown, notices, run: async (line: string) => runShellLine(line, context)};
}

test('ls lists a directory, a file, several of them, and what there is to know', async t => {
	const {shown, run} = stand();
	await run('ls');
	await run('ls control/rekey');
	await run('ls -l control');
	await run('ls control current');
	t.deepEqual(shown, [
		'control\ncurrent\n',
		'control/rekey\n',
		'-rw-r-----  5 unlock\n-rw-r----- 22 rekey\n',
		'control:\nunlock\nrekey\n',
		'current:\ndata\n',
	]);
	await t.throwsAsync(run('ls nothing'), {message: 'there is no nothing'});
});

test('cat shows files to their end, however long they are', async t => {
	const {tree, shown, run} = stand();
	await run('cat control/rekey current/data');
	t.is(shown.join(''), `idle last-result:none\n${tree.files.get('/current/data')!.toString()}`);
});

test('cd changes where paths begin, help and an empty line work anywhere', async t => {
	const {tree, shown, run} = stand();
	await run('cd control');
	await run('cat rekey');
	t.deepEqual(shown, ['idle last-result:none\n']);
	await t.throwsAsync(run('cd nothing/more'));
	t.is(tree.directory, '/control');
	await run('cd');
	t.is(tree.directory, '/');
	await run('');
	await run('help');
	t.regex(shown.at(-1)!, /^ls \[-l\] \[PATH\.\.\.\] +list directories/);
	await run('sync');
	t.deepEqual(tree.synced, ['/current/data']);
	await t.throwsAsync(run('rm control'), {instanceOf: ShellUsageError, message: /there is no command "rm"/});
	await t.throwsAsync(run('constructor'), {instanceOf: ShellUsageError});
});

test('what a command shows goes into a file where the line says so', async t => {
	const {tree, shown, run} = stand();
	await run('echo true > control/rekey');
	t.deepEqual(tree.written, [{path: '/control/rekey', offset: 0, text: 'true\n'}]);
	t.deepEqual(shown, []);
	await run('cat control/rekey > current/data');
	t.is(tree.written[1].path, '/current/data');
	await t.throwsAsync(run('cat current/data > current/data'), {
		instanceOf: ShellUsageError,
		message: /more than 1048576 bytes are copied with dd/,
	});
});

test('a secret is asked for, not shown, and wiped; in a command line it is refused', async t => {
	const secret = Buffer.from('geheim');
	const questions: string[] = [];
	const asking = stand({
		ask: async question => {
			questions.push(question);
			return Buffer.from(secret);
		},
	});
	await asking.run('unlock');
	await asking.run('echo > control/unlock');
	t.deepEqual(questions, ['/control/unlock: ', 'control/unlock: ']);
	t.deepEqual(
		asking.tree.written.map(({text}) => text),
		['geheim', 'geheim'],
	);
	t.deepEqual(asking.shown, []);
	await t.throwsAsync(asking.run('unlock geheim'), {instanceOf: ShellUsageError});
	await asking.run('echo geheim > control/unlock');
	t.regex(asking.notices[0], /this line is not kept in the history/);
	const argument = stand({isArgument: true});
	await t.throwsAsync(argument.run('echo geheim > control/unlock'), {message: /every user of this machine can read/});
	t.deepEqual(argument.tree.written, []);
});

test('without anybody to ask, unlock has the anchor open by itself', async t => {
	const {tree, run} = stand();
	await run('unlock');
	t.deepEqual(tree.written, [{path: '/control/unlock', offset: 0, text: ''}]);
});

test('watch runs a command until it is interrupted', async t => {
	const interruption = new AbortController();
	const shown: string[] = [];
	const {run} = stand({
		signal: interruption.signal,
		write(text) {
			shown.push(text.toString());
			if (shown.length === 2) {
				interruption.abort();
			}
		},
	});
	await run('watch cat control/rekey');
	t.deepEqual(shown, ['idle last-result:none\n', 'idle last-result:none\n']);
	await t.throwsAsync(run('watch'), {instanceOf: ShellUsageError});
});

const watch = () => ({signal: new AbortController().signal, onProgress: () => undefined});

test('dd copies files of the tree to the host and back, in parts as it is told', async t => {
	const tree = new MemoryTree();
	const data = Buffer.from(tree.files.get('/current/data')!);
	const file = join(temporaryDirectory(), 'copy');
	const progress: Array<[number, number | undefined]> = [];
	const text = await copy(tree as unknown as ShellTree, ['if=current/data', `of=host:${file}`], {
		signal: new AbortController().signal,
		onProgress: (...how) => void progress.push(how),
	});
	t.true(readFileSync(file).equals(data));
	t.regex(text, new RegExp(`^${data.length} bytes copied \\(3\\.0 MiB\\) in `));
	t.deepEqual(progress.at(-1), [data.length, data.length]);

	writeFileSync(file, Buffer.alloc(10_000, 'Z'));
	await copy(
		tree as unknown as ShellTree,
		[`if=host:${file}`, 'of=current/data', 'bs=1K', 'skip=1', 'count=2', 'seek=3'],
		watch(),
	);
	const expected = Buffer.from(data);
	expected.fill('Z', 3072, 3072 + 2048);
	t.true(tree.files.get('/current/data')!.equals(expected));
	t.deepEqual(tree.synced, ['current/data']);
});

test('dd says what it does not understand, and ends where it is interrupted', async t => {
	const tree = new MemoryTree() as unknown as ShellTree;
	for (const [words, message] of [
		[['if=x'], /dd needs if=FILE and of=FILE/],
		[['if=x', 'of=y', 'conv=swab'], /dd does not know "conv=swab"/],
		[['if=x', 'of=y', 'bs'], /dd does not know "bs"/],
		[['if=x', 'of=y', 'bs=4X'], /bs=4X is no number/],
		[['if=x', 'of=y', 'count=99999999999999G'], /is no number/],
	] as Array<[string[], RegExp]>) {
		await t.throwsAsync(copy(tree, words, watch()), {instanceOf: ShellUsageError, message});
	}

	await t.throwsAsync(copy(tree, ['if=nothing', 'of=current/data'], watch()), {message: 'there is no nothing'});
	const interruption = new AbortController();
	interruption.abort();
	const file = join(temporaryDirectory(), 'copy');
	const text = await copy(tree, ['if=current/data', `of=host:${file}`], {...watch(), signal: interruption.signal});
	t.regex(text, /^0 bytes copied .*; interrupted$/);
});
