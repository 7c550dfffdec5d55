/** Passphrases typed on a terminal, which shows everything else that is typed; and from a file descriptor. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, RuntimeProcess, withFolder} from '../support/runtime-process.js';

/** An assembly whose passphrases are quick to try. */
const assembly = readFileSync(join(projectFolder, 'config/assemblies/low_latency.xml'), 'utf8').replace(
	'<config path="trust_anchor"/>',
	'<config path="trust_anchor" unlock_ms="1" kdf_memory="1M"/>',
);
const secret = 'the hïdden words';
const [interrupt, endOfInput, eraseLine, backspace, lineBegin] = ['\u0003', '\u0004', '\u0015', '\u007F', '\u0001'];

interface Place {
	readonly deployFile: string;
	readonly state: string;
	/** Runs words of the program on a terminal. */
	terminal(...words: string[]): RuntimeProcess;
	key(...words: string[]): RuntimeProcess;
}

async function withPlace(t: ExecutionContext, use: (place: Place) => Promise<void>): Promise<void> {
	await withFolder(async folder => {
		const deployFile = join(folder, 'deploy.xml');
		writeFileSync(deployFile, assembly);
		const state = join(folder, 'state');
		const said: RuntimeProcess[] = [];
		const terminal = (...words: string[]) => {
			const run = new RuntimeProcess([...words, '--state', state], {terminal: true});
			said.push(run);
			return run;
		};

		await use({deployFile, state, terminal, key: (...words) => terminal('key', ...words, '--deploy', deployFile)});
		for (const {output} of said) {
			t.false(/hïdden|words/.test(output), output);
		}
	});
}

async function addPassphrase({key}: Place): Promise<RuntimeProcess> {
	const adding = key('add');
	await adding.answer('New passphrase: ', `${secret}\r`);
	await adding.answer('The same again: ', `${secret}\r`);
	await adding.ended;
	return adding;
}

testWith(['script'], 'a new passphrase is typed twice, unseen, and can be corrected', async t => {
	await withPlace(t, async place => {
		const {deployFile, key} = place;
		const differing = key('add');
		await differing.answer('New passphrase: ', `${secret}\r`);
		await differing.answer('The same again: ', `${secret}!\r`);
		t.is(await differing.ended, 1);
		t.regex(differing.output, /the two passphrases differ; nothing was changed/);

		const empty = key('add');
		await empty.answer('New passphrase: ', '\r');
		t.is(await empty.ended, 1);
		t.regex(empty.output, /the passphrase is empty/);

		const cancelled = key('add');
		await cancelled.answer('New passphrase: ', `words${endOfInput}`);
		t.is(await cancelled.ended, 1);
		t.regex(cancelled.output, /nothing was entered/);

		// A character of two bytes goes as one.
		const added = key('add');
		await added.answer('New passphrase: ', `some other words${eraseLine}the hïï${backspace}dden words\r`);
		await added.answer('The same again: ', `${secret}\r`);
		t.is(await added.ended, 0, added.output);
		t.regex(added.output, /slot 0 holds the new passphrase/);

		const wrong = await runRuntime(
			['key', 'recovery', '--passphrase-fd', '3', '--deploy', deployFile, '--state', place.state],
			{descriptor3: 'the hïïdden words\n'},
		);
		t.is(wrong.code, 1);
		const right = await runRuntime(
			['key', 'recovery', '--passphrase-fd', '3', '--deploy', deployFile, '--state', place.state],
			{descriptor3: `${secret}\n`},
		);
		t.is(right.code, 0, right.output);
	});
});

testWith(
	['script'],
	'a start on a terminal asks, again after a wrong passphrase; Ctrl-C at the question ends it',
	async t => {
		await withPlace(t, async place => {
			const {deployFile} = place;
			t.is(await (await addPassphrase(place)).ended, 0);
			const started = place.terminal('start', deployFile);
			t.teardown(async () => started.stop('SIGKILL'));
			await started.answer('Passphrase of superblock_control: ', 'wrong words\r');
			await started.answer(/does not open[^]*Passphrase of superblock_control: /, `${secret}\r`);
			await started.printed(/\] unlocked/);

			// Locked, it is given the passphrase by descriptor, at once and without a word.
			t.is((await runRuntime(['lock', '--state', place.state])).code, 0);
			t.is(
				(
					await runRuntime(['unlock', '--passphrase-fd', '3', '--state', place.state], {
						descriptor3: 'something else',
					})
				).code,
				1,
			);
			const unlocked = await runRuntime(['unlock', '--passphrase-fd', '3', '--state', place.state], {
				descriptor3: secret,
			});
			t.is(unlocked.code, 0, unlocked.output);
			t.is(unlocked.output, 'the device is unlocked\n');
			await started.answer('', interrupt);
			t.is(await started.ended, 0, started.output);

			const interrupted = place.terminal('start', deployFile);
			t.teardown(async () => interrupted.stop('SIGKILL'));
			await interrupted.answer('Passphrase of superblock_control: ', `words${interrupt}`);
			t.is(await interrupted.ended, 0, interrupted.output);
		});
	},
);

testWith(
	['script'],
	'unlocking on a terminal takes three attempts at most, and a tool asks before it runs',
	async t => {
		await withPlace(t, async place => {
			const {deployFile} = place;
			t.is(await (await addPassphrase(place)).ended, 0);
			const started = new RuntimeProcess(['start', deployFile, '--state', place.state]);
			t.teardown(async () => started.stop('SIGKILL'));
			await started.printed('the device is locked');
			await started.printed('[runtime] ready');
			const failing = place.terminal('unlock');
			for (let attempt = 0; attempt < 3; attempt++) {
				await failing.answer('Passphrase: ', `wrong words ${attempt}\r`);
			}

			t.is(await failing.ended, 1);
			t.is(failing.output.match(/Passphrase: /g)?.length, 3);
			const unlocking = place.terminal('unlock');
			await unlocking.answer('Passphrase: ', `${secret}\r`);
			t.is(await unlocking.ended, 0, unlocking.output);
			t.is(await started.stop(), 0);

			const checking = place.terminal('run', 'cbe_check', deployFile);
			await checking.answer('Passphrase: ', `${secret}\r`);
			t.is(await checking.ended, 0, checking.output);
			t.regex(checking.output, /no fault found/);
			const given = await runRuntime(
				['run', 'cbe_check', deployFile, '--state', place.state, '--passphrase-fd', '3'],
				{descriptor3: `${secret}\n`},
			);
			t.is(given.code, 0, given.output);
		});
	},
);

testWith(['script'], 'what is no passphrase is shown while it is typed', async t => {
	await withPlace(t, async place => {
		const {deployFile, key, state} = place;
		const created = new RuntimeProcess(['start', deployFile, '--state', state]);
		t.teardown(async () => created.stop('SIGKILL'));
		await created.printed('[runtime] ready');
		t.is(await created.stop(), 0);
		t.is(await (await addPassphrase(place)).ended, 0);

		const refusing = key('remove', '0');
		await refusing.answer('Type "yes": ', 'nosotros\r');
		t.is(await refusing.ended, 1);
		t.true(refusing.output.includes('nosotros'));
		const removing = key('remove', '0');
		await removing.answer('Type "yes": ', 'yes\r');
		await removing.answer('Passphrase that opens it now, or recovery key: ', `${secret}\r`);
		t.is(await removing.ended, 0, removing.output);
	});
});

testWith(
	['script'],
	"Ctrl-C at the shell's prompt gives up the line, wherever the cursor stands in it, and the shell stays",
	async t => {
		await withPlace(t, async ({deployFile, state, terminal}) => {
			const runtime = new RuntimeProcess(['start', deployFile, '--state', state]);
			t.teardown(async () => runtime.stop('SIGKILL'));
			await runtime.printed('[runtime] ready');
			const shell = terminal('shell');
			t.teardown(async () => shell.stop('SIGKILL'));
			await shell.answer('cbe:/> ', 'echo true > control/create_snapshot');
			await shell.answer('control/create_snapshot', interrupt);
			await shell.answer(/\^C\r\n[^]*cbe:\/> /, `echo true > control/rekey${lineBegin}`);
			await shell.answer('control/rekey', interrupt);
			await shell.answer(/\^C\r\n[^]*cbe:\/> /, interrupt);
			// What is left of a line would be the beginning of this one.
			await shell.answer(/\^C\r\n[^]*cbe:\/> /, 'cat control/create_snapshot control/rekey\r');
			await shell.answer(/idle last-result:none[^]*idle last-result:none[^]*cbe:\/> /, endOfInput);
			t.is(await shell.ended, 0, shell.output);
			t.is(shell.output.match(/\^C/g)?.length, 3);
			t.is(
				(
					JSON.parse((await runRuntime(['snapshot', 'list', '--json', '--state', state])).output) as {
						snapshots: unknown[];
					}
				).snapshots.length,
				0,
			);
			t.is(await runtime.stop(), 0, runtime.output);
		});
	},
);

testWith(['script'], 'nobody is asked, and nothing prompts, where standard input is no terminal', async t => {
	await withPlace(t, async place => {
		const {deployFile, state} = place;
		t.is(await (await addPassphrase(place)).ended, 0);
		const runtime = new RuntimeProcess(['start', deployFile, '--state', state], {
			terminal: true,
			input: `${secret}\n`,
		});
		t.teardown(async () => runtime.stop('SIGKILL'));
		await runtime.printed('[runtime] ready');
		const questions = /assphrase[^\n]*: ?$|The same again|Type "yes"|cbe:\/|^> /m;
		for (const terminal of [false, true]) {
			const piped = async (input: string, ...words: string[]) =>
				runRuntime([...words, '--state', state], {terminal, input});
			const shell = await piped('ls\ncd control\ncat unlock\n', 'shell');
			t.is(shell.code, 0, shell.output);
			t.is(shell.output.replaceAll('\r', ''), 'control\ncurrent\nsnapshots\nidle last-result:none\n');
			for (const words of [['unlock'], ['key', 'add'], ['key', 'remove', '0']]) {
				const refused = await piped(`${secret}\n${secret}\n`, ...words);
				t.is(refused.code, 1, refused.output);
				t.regex(refused.output, /there is no terminal to ask on|a running runtime|locked/, words.join(' '));
				t.notRegex(refused.output, questions, words.join(' '));
			}
		}

		t.notRegex(runtime.output, questions);
		t.is((await runRuntime(['stop', '--state', state])).code, 0);
		const checked = await runRuntime(['run', 'cbe_check', deployFile, '--state', state], {
			terminal: true,
			input: `${secret}\n`,
		});
		t.not(checked.code, 0);
		t.notRegex(checked.output, questions);
		t.regex(checked.output, /locked/);
	});
});

test('a descriptor that is not open, and a file that cannot be read, are named', async t => {
	await withFolder(async folder => {
		const refused = await runRuntime(['key', 'add', '--new-passphrase-fd', '77', '--state', join(folder, 'state')]);
		t.is(refused.code, 1);
		t.regex(refused.output, /the passphrase in file descriptor 77 cannot be read \(EBADF/);
		for (const [file, reason] of [
			[join(folder, 'nowhere'), 'ENOENT'],
			[folder, 'EISDIR'],
		]) {
			const {code, output} = await runRuntime([
				'key',
				'add',
				'--new-passphrase-file',
				file,
				'--state',
				join(folder, 'state'),
			]);
			t.is(code, 1);
			t.regex(output, new RegExp(`the passphrase file ${file} cannot be read \\(${reason}`));
		}
	});
});
