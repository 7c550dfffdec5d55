import {spawnSync} from 'node:child_process';
import test from 'ava';

const modules = {closure: new URL('process-closure.js', import.meta.url).href};

/** Runs `script` in a process of its own, which prints one JSON document. */
function run(script: string, options: readonly string[] = []): unknown {
	const {stdout, stderr} = spawnSync(
		process.execPath,
		[
			...options,
			'--input-type=module',
			'-e',
			`
		import inspector from 'node:inspector';
		import {readFileSync} from 'node:fs';
		import {createRequire} from 'node:module';
		import {setTimeout} from 'node:timers/promises';
		const koffi = createRequire(${JSON.stringify(modules.closure)})('koffi');
		const {closeProcess} = await import(${JSON.stringify(modules.closure)});
		${script}`,
		],
		{encoding: 'utf8'},
	);
	try {
		return JSON.parse(stdout) as unknown;
	} catch {
		throw new Error(stdout + stderr);
	}
}

test('the debugger opens neither before nor after, and the memory is dumped nowhere', t => {
	t.deepEqual(
		run(`
		process.kill(process.pid, 'SIGUSR1');
		await setTimeout(500);
		const before = inspector.url() !== undefined;
		const open = closeProcess();
		process.kill(process.pid, 'SIGUSR1');
		await setTimeout(500);
		const getDumpable = 3;
		console.log(JSON.stringify({
			before, open, after: inspector.url() !== undefined,
			dumpable: koffi.load(null).func('int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)')(getDumpable, 0, 0, 0, 0),
			core: /^Max core file size\\s+(\\S+)\\s+(\\S+)/m.exec(readFileSync('/proc/self/limits', 'utf8')).slice(1),
		}));`),
		{before: true, open: [], after: false, dumpable: 0, core: ['0', '0']},
	);
});

test('a debugger that was asked for stays, and is told', t => {
	const open = run('console.log(JSON.stringify(closeProcess())); process.exit()', [
		'--inspect=127.0.0.1:0',
	]) as string[];
	t.is(open.length, 1);
	t.regex(
		open[0],
		/^Node's debugger is open at ws:\/\/127\.0\.0\.1:\d+\/.*, as it was asked for: whoever can connect/,
	);
});
