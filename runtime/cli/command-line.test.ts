import {existsSync, readdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {
	RuntimeProcess,
	projectFolder,
	runRuntime,
	startRuntime,
	withFolder,
} from '../../test/support/runtime-process.js';

const raw = join(projectFolder, 'config/assemblies/raw.xml');

test('--help and --version succeed, and every command explains itself with an example', async t => {
	const {code, output} = await runRuntime(['--help']);
	t.is(code, 0);
	const commands = [
		'start',
		'run',
		'status',
		'restart',
		'diff',
		'apply',
		'swap',
		'check',
		'snapshot',
		'extend',
		'rekey',
		'verify',
	];
	t.deepEqual(
		commands.filter(command => !new RegExp(`^  ${command} `, 'm').test(output)),
		[],
	);
	t.regex((await runRuntime(['--version'])).output, /^\d+\.\d+\.\d+\n$/);
	for (const command of commands) {
		const help = await runRuntime([command, '--help']);
		t.is(help.code, 0);
		t.regex(help.output, new RegExp(`Examples?:\n  runtime ${command}`));
	}
});

const misuses: ReadonlyArray<readonly [readonly string[], RegExp]> = [
	[[], /Usage: runtime/],
	[['strat'], /unknown command 'strat'; did you mean "start"\?\n/],
	[['stat'], /unknown command 'stat'; did you mean "status"\?\n/],
	[['mount'], /unknown command 'mount'\n/],
	[['start', '--stat', 'x'], /unknown option '--stat'/],
	[['start', 'a.xml', 'b.xml'], /too many arguments/],
	[['run'], /missing required argument 'name'/],
	[['run', 'nbd', raw], /child "nbd" is a service, which "runtime start" starts; tools: none/],
	[['run', 'cbe_chek'], /there is no child "cbe_chek" in the deployment; did you mean "cbe_check"\?/],
	[['start', '--state', ''], /'' is invalid\. it is empty; name a directory/],
	[['snapshot', 'list', '--state', ''], /it is empty; name a directory/],
	[['check', '/dev/zero'], /^\/dev\/zero:1:1: error: the file has more than 1048576 bytes/],
	[['key', 'remove', '8'], /'8' is invalid for argument 'slot'\. slots have the numbers 0 to 7/],
	[['key', 'change', '--slot', '-1'], /'-1' is invalid\. slots have the numbers 0 to 7/],
	[['start', 'nowhere.xml'], /^nowhere\.xml:1:1: error: the file cannot be read/],
	[['check', 'nowhere.xml'], /^nowhere\.xml:1:1: error: the file cannot be read/],
];

for (const [words, pattern] of misuses) {
	test(`"runtime ${words.join(' ')}" ends with 2`, async t => {
		const {code, output} = await runRuntime(words);
		t.is(code, 2);
		t.regex(output, pattern);
	});
}

test('a wrong deployment starts nothing and writes nothing', async t => {
	await withFolder(async directory => {
		writeFileSync(
			join(directory, 'deploy.xml'),
			'<config>\n<start name="a"><binary name="blok_file"/></start>\n<x/></config>',
		);
		for (const words of [['start'], ['run', 'a'], ['check']]) {
			const {code, output} = await runRuntime(words, {directory});
			t.is(code, 2);
			t.regex(output, /^deploy\.xml:2:25: error: there is no binary "blok_file"; did you mean "block_file"\?/);
			t.regex(output, /\ndeploy\.xml:3:1: error: unknown element <x>/);
			t.regex(output, /\n\[runtime\] deploy\.xml: 2 errors; nothing was started\n$/);
		}

		t.deepEqual(readdirSync(directory), ['deploy.xml']);
	});
});

test('check shows the routes of a right deployment', async t => {
	await withFolder(async directory => {
		const {code, output} = await runRuntime(['check', raw], {directory});
		t.is(code, 0);
		t.regex(output, /^nbd +nbd +block \(device\) -> block_file$/m);
		t.false(existsSync(join(directory, 'var')));
	});
});

test('without a running runtime, status and restart say so', async t => {
	await withFolder(async directory => {
		for (const words of [['status'], ['restart', 'nbd'], ['diff'], ['apply'], ['swap', 'crypto', 'crypto_noble']]) {
			const {code, output} = await runRuntime(words, {directory});
			t.is(code, 1);
			t.regex(output, /^\[runtime\] no runtime uses the state directory/);
		}
	});
});

test('a running runtime can be watched, restarted in part, and stopped', async t => {
	await withFolder(async directory => {
		const runtime = await startRuntime(raw, directory);
		const status = await runRuntime(['status', '--state', directory]);
		t.is(status.code, 0);
		t.regex(status.output, /^CHILD +BINARY +STATE +TID/m);
		t.regex(status.output, /^block_file +block_file +up +\d+/m);

		const restarted = await runRuntime(['restart', 'block_file', '--state', directory]);
		t.deepEqual(restarted, {code: 0, output: '[runtime] child "block_file" was restarted\n'});
		t.regex(
			(await runRuntime(['restart', 'blok_file', '--state', directory])).output,
			/there is no child "blok_file"; did you mean "block_file"\? \(children: /,
		);

		const json = await runRuntime(['status', '--json', '--state', directory]);
		const {children} = JSON.parse(json.output) as {
			children: Array<{name: string; restarts: number; requestedRestarts: number}>;
		};
		t.deepEqual(
			children.map(({name, restarts, requestedRestarts}) => [name, restarts, requestedRestarts]),
			[
				['block_file', 0, 1],
				['nbd', 0, 0],
			],
		);

		const second = await runRuntime(['start', raw, '--state', directory]);
		t.is(second.code, 1);
		t.regex(second.output, new RegExp(`in use by the runtime with process id ${runtime.pid}`));

		t.is(await runtime.stop('SIGINT'), 0);
		t.regex(runtime.output, /\[runtime\] SIGINT: stopping\n/);
	});
});

test('a signal while children start ends the runtime in order', async t => {
	await withFolder(async directory => {
		const runtime = new RuntimeProcess(['start', join(projectFolder, 'deploy.xml'), '--state', directory]);
		await runtime.printed('creating it');
		t.is(await runtime.stop(), 0);
		t.notRegex(runtime.output, /\[runtime\] ready/);
		t.false(existsSync(join(directory, 'runtime.sock')));
	});
});

test('a signal that comes before anything has been loaded ends with 0 and starts nothing', async t => {
	await withFolder(async directory => {
		const atFirstHandler =
			'const timer = setInterval(() => { if (process.listenerCount("SIGTERM") > 0) { clearInterval(timer); process.kill(process.pid, "SIGTERM"); } }, 0);';
		const variables = {NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(atFirstHandler)}`};
		const {code, output} = await runRuntime(['start', raw], {directory, variables});
		t.is(code, 0);
		t.is(output, '[runtime] SIGTERM: stopping\n');
		// Engines that load modules in one go see it a moment later, when the place of the state has been made and
		// locked.
		const files = readdirSync(directory, {recursive: true, encoding: 'utf8'});
		t.deepEqual(
			files.filter(name => name !== 'var' && name !== 'var/runtime.lock'),
			[],
		);
	});
});
