/** Keys of the real program: passphrases on the command line, locking under a client, with a runtime and without. */
import {writeFileSync, readdirSync, readFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';

const deployFile = join(projectFolder, 'config/assemblies/low_latency.xml');

interface Slots {
	readonly hasKeyFile: boolean;
	readonly keys: ReadonlyArray<{slot: number; kind: string; derivation: string}>;
}

test('a passphrase from its first day to a forgotten one: key, start, unlock, lock, rekey', async t => {
	await withFolder(async folder => {
		const state = join(folder, 'state');
		const [first, second] = ['eins.txt', 'zwei.txt'].map(name => join(folder, name));
		writeFileSync(first, 'the first passphrase\n');
		writeFileSync(second, 'the second one');
		const run = async (words: string[], variables: Record<string, string> = {}) =>
			runRuntime([...words, '--state', state], {variables});
		const key = async (...words: string[]) => run(['key', ...words, '--deploy', deployFile]);

		const added = await key('add', '--new-passphrase-file', first, '--name', 'day one');
		t.is(added.code, 0, added.output);
		const recovery = await key('recovery', '--passphrase-file', first, '--json');
		t.is(recovery.code, 0, recovery.output);
		const {recovery_key: recoveryKey} = JSON.parse(recovery.output) as {recovery_key: string};
		t.regex(recoveryKey, /^[\dA-Z]{6}(?:-[\dA-Z]{6}){5}$/);

		const locked = await startRuntime(deployFile, state);
		t.teardown(async () => locked.stop('SIGKILL'));
		await locked.printed('the device is locked');
		t.regex((await run(['snapshot', 'create'])).output, /the device is locked/);
		const wrong = await run(['unlock', '--passphrase-file', second]);
		t.is(wrong.code, 1);
		t.regex(wrong.output, /does not open/);
		const unlocked = await run(['unlock', '--passphrase-file', first]);
		t.is(unlocked.code, 0, unlocked.output);
		t.is((await run(['rekey'])).code, 0);
		t.is((await run(['key', 'change', '--passphrase-file', first, '--new-passphrase-file', second])).code, 0);
		t.is((await run(['lock'])).code, 0);
		t.regex((await run(['status'])).output, /locked/);
		t.is((await run(['unlock'], {CBE_PASSPHRASE: recoveryKey})).code, 0);
		const listed = JSON.parse((await run(['key', 'list', '--json'])).output) as Slots;
		t.deepEqual(
			listed.keys.map(({slot, kind}) => `${slot} ${kind}`),
			['0 passphrase', '1 recovery'],
		);
		t.regex(listed.keys[0].derivation, /^scrypt N=2\^1[78] r=8 p=\d+, (?:128|256) MiB$/);
		t.false(listed.hasKeyFile);
		t.is(await locked.stop(), 0);

		const opened = await startRuntime(deployFile, state, {variables: {CBE_PASSPHRASE_FILE: second}});
		t.teardown(async () => opened.stop('SIGKILL'));
		t.false(opened.output.includes('locked'));
		t.is(await opened.stop(), 0);
		const checked = await runRuntime([
			'run',
			'cbe_check',
			deployFile,
			'--state',
			state,
			'--passphrase-file',
			second,
		]);
		t.is(checked.code, 0, checked.output);
		const refused = await runRuntime(['run', 'cbe_check', deployFile, '--state', state]);
		t.not(refused.code, 0);
		t.regex(refused.output, /CBE_PASSPHRASE/);

		const said = [added, recovery, wrong, unlocked, checked, refused, locked, opened]
			.map(({output}) => output.replaceAll(recoveryKey, ''))
			.join('\n');
		for (const secret of ['the first passphrase', 'the second one']) {
			t.false(said.includes(secret));
			for (const name of readdirSync(join(state, 'trust_anchor'))) {
				t.false(readFileSync(join(state, 'trust_anchor', name)).includes(secret));
			}
		}
	});
});

test('what is missing or contradicts itself is said before anything is changed', async t => {
	await withFolder(async folder => {
		const key = async (...words: string[]) =>
			runRuntime(['key', ...words, '--deploy', deployFile, '--state', join(folder, 'state')]);
		t.regex((await key('list')).output, /no trust anchor yet/);
		const nothing = await key('add');
		t.is(nothing.code, 1);
		t.regex(nothing.output, /no terminal.*CBE_NEW_PASSPHRASE/);
		t.is((await key('remove', 'x')).code, 2);
		t.regex((await runRuntime(['lock', '--state', folder])).output, /no runtime uses/);
		t.regex((await key('list')).output, /no trust anchor yet/);
	});
});
