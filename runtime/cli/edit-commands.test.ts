/** `diff`, `apply` and `swap`, with a runtime that answers as the test says. */
import {copyFileSync, mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {Refusal, withAnsweringRuntime, type Answer} from '../../test/support/answering-runtime.js';
import {capturing} from '../../test/support/captured-output.js';
import {temporaryDirectory} from '../../test/support/component-stand.js';
import {projectFolder} from '../../test/support/runtime-process.js';
import {apply} from './apply.js';
import {diff} from './diff.js';
import {exitCode} from './exit-code.js';
import {swap} from './swap.js';

async function run<T>(answer: Answer, use: (stateDirectory: string) => Promise<T>) {
	const stateDirectory = temporaryDirectory();
	return capturing(async () => withAnsweringRuntime(stateDirectory, answer, async () => use(stateDirectory)));
}

const outcome = (result: string, message: string, pauseMs = 0) => ({result, message, pauseMs, time: 'now'});

test.serial('apply says what came of the edit, and its exit code does', async t => {
	const cases: Array<[ReturnType<typeof outcome>, number, string, string]> = [
		[outcome('applied', 'one child'), exitCode.ok, '[runtime] applied: one child\n', ''],
		[
			outcome('applied', 'one child', 12),
			exitCode.ok,
			'[runtime] applied: one child; requests waited for 12 ms at most\n',
			'',
		],
		[outcome('unchanged', 'nothing was edited'), exitCode.ok, '[runtime] nothing was edited\n', ''],
		[outcome('refused', 'line 3: wrong'), exitCode.usage, '', 'line 3: wrong\n[runtime] nothing was changed\n'],
		[
			outcome('failed', 'no room'),
			exitCode.failed,
			'',
			'[runtime] it could not be applied: no room; the deployment before runs on\n',
		],
	];
	for (const [answer, code, out, error] of cases) {
		const requests: unknown[] = [];
		const said = await run(
			request => {
				requests.push(request);
				return answer;
			},
			async stateDirectory => apply(stateDirectory),
		);
		t.deepEqual(requests, [{op: 'apply'}]);
		t.deepEqual(said, {result: code, out, error});
	}
});

const difference = {
	file: '/etc/my.xml',
	changes: [{child: 'cache', action: 'restart', detail: 'size="8M"'}],
	reset: [{child: 'vbd', label: 'cache'}],
};

test.serial('diff shows each change, and behind which sessions there will be other data', async t => {
	const {result, out} = await run(
		() => difference,
		async stateDirectory => diff('/etc/my.xml', stateDirectory, false),
	);
	t.is(result, exitCode.ok);
	t.regex(out, /CHILD +CHANGE +WHAT\ncache +restart +size="8M"\n/);
	t.regex(out, /There will be other data behind "cache" of vbd: its clients are disconnected\.\n$/);
});

test.serial('diff of what changes nothing says so, and as JSON it is the whole answer', async t => {
	const unchanged = {...difference, changes: [], reset: []};
	const said = await run(
		() => unchanged,
		async stateDirectory => diff(undefined, stateDirectory, false),
	);
	t.is(said.out, '[runtime] /etc/my.xml changes nothing of what runs\n');
	const json = await run(
		() => difference,
		async stateDirectory => diff(undefined, stateDirectory, true),
	);
	t.deepEqual(JSON.parse(json.out), difference);
});

test.serial('diff of a wrong file is wrong usage; what else is refused is thrown', async t => {
	const wrong = await run(
		() => {
			throw new Refusal('wrong_deployment', 'my.xml:3: there is no component "cach"');
		},
		async stateDirectory => diff('/my.xml', stateDirectory, false),
	);
	t.deepEqual(wrong, {result: exitCode.usage, out: '', error: 'my.xml:3: there is no component "cach"\n'});
	await t.throwsAsync(
		run(
			() => {
				throw new Refusal('failed', 'not now');
			},
			async stateDirectory => diff('/my.xml', stateDirectory, false),
		),
		{message: 'not now'},
	);
});

/** A deployment of somebody's own. */
function ownFile(): string {
	const folder = join(temporaryDirectory(), 'own');
	mkdirSync(folder);
	const file = join(folder, 'my.xml');
	copyFileSync(join(projectFolder, 'config/assemblies/ram.xml'), file);
	return file;
}

const swapAnswer =
	(file: string, result: string, onApply: () => void = () => undefined): Answer =>
	({op}) => {
		if (op === 'status') {
			return {deployment: {file}};
		}

		onApply();
		return outcome(result, 'done');
	};

test.serial('swap edits the file, and has it applied', async t => {
	const file = ownFile();
	const before = readFileSync(file, 'utf8');
	let applied = '';
	const said = await run(
		swapAnswer(file, 'applied', () => {
			applied = readFileSync(file, 'utf8');
		}),
		async stateDirectory => swap('crypto', 'crypto_noble', stateDirectory, false),
	);
	t.is(said.result, exitCode.ok);
	t.not(applied, before);
	t.regex(applied, /crypto_noble/);
	t.is(readFileSync(file, 'utf8'), applied);
	const again = await run(swapAnswer(file, 'applied'), async stateDirectory =>
		swap('crypto', 'crypto_noble', stateDirectory, false),
	);
	t.is(again.out, '[runtime] child "crypto" has the binary crypto_noble already\n');
});

test.serial('swap puts the file back where it could not be applied, unless somebody saved another one', async t => {
	const file = ownFile();
	const before = readFileSync(file, 'utf8');
	const failed = await run(swapAnswer(file, 'failed'), async stateDirectory =>
		swap('crypto', 'crypto_noble', stateDirectory, false),
	);
	t.is(failed.result, exitCode.failed);
	t.regex(failed.error, /is as it was before/);
	t.is(readFileSync(file, 'utf8'), before);
	await run(
		swapAnswer(file, 'failed', () => {
			writeFileSync(file, 'saved meanwhile');
		}),
		async stateDirectory => swap('crypto', 'crypto_noble', stateDirectory, false),
	);
	t.is(readFileSync(file, 'utf8'), 'saved meanwhile');
});

test.serial('swap leaves a file as it is that would be wrong, or that comes with the project', async t => {
	const file = ownFile();
	const before = readFileSync(file, 'utf8');
	for (const [name, binary] of [
		['crypto', 'crypto_nobody'],
		['nobody', 'crypto_noble'],
		['crypto', 'block_ram'],
	]) {
		const {result, error} = await run(swapAnswer(file, 'applied'), async stateDirectory =>
			swap(name, binary, stateDirectory, false),
		);
		t.is(result, exitCode.usage, `${name} ${binary}`);
		t.regex(error, /was left as it is\n$/);
	}

	const shipped = join(projectFolder, 'config/assemblies/ram.xml');
	const {result, error} = await run(swapAnswer(shipped, 'applied'), async stateDirectory =>
		swap('crypto', 'crypto_noble', stateDirectory, false),
	);
	t.is(result, exitCode.usage);
	t.regex(error, /comes with the project/);
	t.is(readFileSync(file, 'utf8'), before);
});
