import {closeSync, openSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {makeStateDirectory} from '../test/support/deployment.js';
import {lockStateDirectory} from './lock.js';
import {lockFile} from './sdk/file-lock.js';

test('a file is locked by one descriptor at a time, until it is closed', async t => {
	const path = join(await makeStateDirectory(), 'image');
	const [first, second] = [openSync(path, 'w'), openSync(path, 'r')];
	t.true(lockFile(first));
	t.false(lockFile(second));
	closeSync(first);
	t.true(lockFile(second));
	closeSync(second);
	t.throws(() => lockFile(second), {message: /flock failed/});
});

test('a state directory is made, locked, and free again afterwards', async t => {
	const directory = join(await makeStateDirectory(), 'a', 'b');
	const lock = lockStateDirectory(directory);
	t.throws(() => lockStateDirectory(directory), {name: 'StartError', message: new RegExp(`^the state directory ${directory} is in use by the runtime with process id ${process.pid};`)});
	lock.release();
	lockStateDirectory(directory).release();
});
