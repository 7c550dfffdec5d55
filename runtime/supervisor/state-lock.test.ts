import {spawnSync} from 'node:child_process';
import {closeSync, openSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {makeStateDirectory} from '../../test/support/fixture-deployment.js';
import {lockStateDirectory} from './state-lock.js';
import {lockFile} from '../sdk/file-lock.js';

test('a file is locked by one descriptor at a time, until it is closed', async t => {
	const path = join(await makeStateDirectory(), 'image');
	const [first, second] = [openSync(path, 'w'), openSync(path, 'r')];
	t.true(lockFile(first));
	t.false(lockFile(second));
	closeSync(first);
	t.true(lockFile(second));
	closeSync(second);
	t.throws(() => lockFile(second), {message: /locks only what is open for writing.*\(EBADF\)/});
});

test('a state directory is made, locked, and free again afterwards', async t => {
	const directory = join(await makeStateDirectory(), 'a', 'b');
	const lock = lockStateDirectory(directory);
	t.throws(() => lockStateDirectory(directory), {
		name: 'StartError',
		message: new RegExp(
			`^the state directory ${directory} is in use by the runtime with process id ${process.pid};`,
		),
	});
	lock.release();
	lockStateDirectory(directory).release();
});

test('a state directory that cannot be is refused with the reason', async t => {
	const directory = await makeStateDirectory();
	const file = join(directory, 'file');
	writeFileSync(file, 'precious');
	const cases: ReadonlyArray<readonly [string, RegExp]> = [
		[file, /cannot be made: a file is in its place; choose another/],
		[join(file, 'below'), /cannot be made: a file is in its way/],
		[join(directory, 'n'.repeat(300)), /cannot be made: its name is too long/],
		// Here mkdir says that something is missing, however often it is asked.
		['/proc/nowhere/below', /cannot be made: nothing can be made there/],
	];
	for (const [path, message] of cases) {
		t.throws(() => lockStateDirectory(path), {name: 'StartError', message});
	}

	t.is(readFileSync(file, 'utf8'), 'precious');
});

test('the process id replaces a longer one that was left behind', async t => {
	const directory = await makeStateDirectory();
	writeFileSync(join(directory, 'runtime.lock'), '123456789012\n');
	const lock = lockStateDirectory(directory);
	t.is(readFileSync(join(directory, 'runtime.lock'), 'utf8'), `${process.pid}\n`);
	lock.release();
	t.is(readFileSync(join(directory, 'runtime.lock'), 'utf8'), '');
});

const hasStrace = spawnSync('strace', ['-e', 'trace=fsync', 'true']).status === 0;

(hasStrace ? test : test.skip)(
	'the names of a new state directory and of what leads there are durable before it is used',
	async t => {
		const directory = await makeStateDirectory();
		const script = `import(${JSON.stringify(new URL('state-lock.js', import.meta.url).href)}).then(({lockStateDirectory}) => lockStateDirectory(${JSON.stringify(join(directory, 'a', 'b'))}))`;
		for (const run of ['made', 'found']) {
			const {status, stderr} = spawnSync(
				'strace',
				['-f', '-qq', '-y', '-e', 'trace=mkdir,fsync,openat', process.execPath, '-e', script],
				{encoding: 'utf8'},
			);
			t.is(status, 0, stderr);
			const used = stderr.indexOf('runtime.lock');
			const synced = (folder: string) => stderr.search(new RegExp(`fsync\\(\\d+<${folder}>\\) += 0`));
			t.true(used > 0);
			// Also one that was found there: a run that was cut off may have left it in memory alone.
			for (const folder of run === 'made' ? [directory, join(directory, 'a')] : [join(directory, 'a')]) {
				t.true(synced(folder) > 0 && synced(folder) < used, `${run}: ${folder}\n${stderr}`);
			}
		}
	},
);
