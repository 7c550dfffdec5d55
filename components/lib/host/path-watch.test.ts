import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../../../test/support/component-stand.js';
import {TestEnvironment} from '../../../test/support/test-environment.js';
import {PathWatch} from './path-watch.js';

test('a file that was removed or replaced is told of once, and looked at now and then alone', t => {
	const path = join(temporaryDirectory(), 'file');
	const fd = fs.openSync(path, 'w');
	const env = new TestEnvironment();
	const watch = new PathWatch(path, env);
	const look = (afterMs: number) => {
		env.advance(afterMs);
		watch.look(fd);
		return env.logged.length;
	};

	t.is(look(6000), 0);
	fs.renameSync(path, `${path}.old`);
	t.is(look(1000), 0);
	t.is(look(5000), 1);
	t.deepEqual(env.logged, [
		{
			level: 'error',
			text: `${path} was removed, or another file was put in its place; what is written goes to the old one, and is lost when that is closed: copy the device while it runs`,
		},
	]);
	fs.writeFileSync(path, '');
	t.is(look(6000), 1);
	fs.renameSync(`${path}.old`, path);
	t.is(look(6000), 1);
	fs.rmSync(path);
	t.is(look(6000), 2);
	fs.closeSync(fd);
});
