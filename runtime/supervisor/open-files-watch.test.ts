import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {watchOpenFiles} from './open-files-watch.js';

test('a process that has hardly a file left to open says so, once until it has some again', async t => {
	const said: string[] = [];
	let open: number | undefined = 80;
	const stop = watchOpenFiles({say: text => void said.push(text)}, {max: 100, openCount: () => open, intervalMs: 1});
	const sees = async (count: number | undefined) => {
		open = count;
		await sleep(30);
	};

	await sees(80);
	t.deepEqual(said, []);
	await sees(93);
	await sees(90);
	await sees(undefined);
	t.is(said.length, 1);
	t.regex(
		said[0],
		/^this process has 93 of 100 files open that it may have at once: new connections, and restarts of components, fail; .*"ulimit -n 4096"/,
	);
	await sees(84);
	await sees(undefined);
	t.is(said.length, 2);
	t.regex(said[1], /^this process has 100 of 100 files open/);
	stop();
	await sees(10);
	await sees(100);
	t.is(said.length, 2);
});
