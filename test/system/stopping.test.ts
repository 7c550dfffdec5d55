/** How the real program ends: by `runtime stop`, by signals, and what its log looks like in a file. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {closeSync, openSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import test from 'ava';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';

const raw = join(projectFolder, 'config/assemblies/raw.xml');

test.serial('runtime stop waits for the end and says what came of it; without a runtime it says so', async t => {
	await withFolder(async state => {
		const nothing = await runRuntime(['stop', '--state', state]);
		t.is(nothing.code, 1);
		t.regex(nothing.output, /^\[runtime\] nothing to stop: no runtime uses the state directory .*--state\n$/);
		const runtime = await startRuntime(raw, state);
		const stopped = await runRuntime(['stop', '--state', state]);
		t.is(stopped.code, 0, stopped.output);
		t.is(
			stopped.output,
			`[runtime] the runtime with process id ${runtime.pid} has stopped in order; everything it had accepted is flushed\n`,
		);
		t.is(await runtime.ended, 0);
		t.is(readFileSync(join(state, 'runtime.lock'), 'utf8'), '');
		t.is((await runRuntime(['stop', '--state', state])).code, 1);
	});
});

for (const signal of ['SIGHUP', 'SIGTERM', 'SIGINT'] as const) {
	test.serial(`${signal} is an orderly end`, async t => {
		await withFolder(async state => {
			const runtime = await startRuntime(raw, state);
			t.is(await runtime.stop(signal), 0);
			t.true(runtime.output.endsWith(`[runtime] ${signal}: stopping\n`));
			t.is(readFileSync(join(state, 'runtime.lock'), 'utf8'), '');
		});
	});
}

test.serial('in a file each line of the log has its time and level; --log json and --log-level', async t => {
	await withFolder(async state => {
		const runInto = async (words: readonly string[]) => {
			const path = join(state, 'log');
			const fd = openSync(path, 'w');
			const run = spawn(
				process.execPath,
				[join(projectFolder, 'runtime/bin/runtime.js'), 'start', raw, '--state', state, ...words],
				{stdio: ['ignore', fd, 'inherit'], cwd: projectFolder},
			);
			closeSync(fd);
			const ended = once(run, 'exit');
			while ((await runRuntime(['status', '--json', '--state', state])).code !== 0) {
				await setTimeout(50);
			}

			t.is((await runRuntime(['stop', '--state', state])).code, 0);
			t.is((await ended)[0], 0);
			return readFileSync(path, 'utf8')
				.trimEnd()
				.split('\n')
				.filter(line => line !== '');
		};
		const plain = await runInto([]);
		t.true(
			plain.every(line => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (?:info|warning|error) \[runtime/.test(line)),
			plain.join('\n'),
		);
		const json = (await runInto(['--log', 'json'])).map(line => JSON.parse(line) as Record<string, string>);
		t.true(json.every(({time, level, text}) => !Number.isNaN(Date.parse(time)) && level === 'info' && text !== ''));
		t.deepEqual(await runInto(['--log-level', 'error']), []);
	});
});
