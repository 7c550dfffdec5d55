/** Passphrases and paths are bytes: nothing that is no UTF-8 may be taken for something else. */
import {existsSync, readdirSync, readFileSync, writeFileSync} from 'node:fs';
import {spawnSync} from 'node:child_process';
import {join} from 'node:path';
import test from 'ava';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';

const assembly = readFileSync(join(projectFolder, 'config/assemblies/low_latency.xml'), 'utf8').replace(
	'<config path="trust_anchor"/>',
	'<config path="trust_anchor" unlock_ms="1" kdf_memory="1M"/>',
);
const program = join(projectFolder, 'dist/runtime/cli/main.js');

/** Runs the program from a shell, which can put any bytes anywhere: in octal, as printf takes them. */
function runFrom(directory: string, script: string) {
	const {status, stdout, stderr} = spawnSync('/bin/sh', ['-c', script, process.execPath, program], {
		cwd: directory,
		encoding: 'utf8',
	});
	return {status, output: stdout + stderr};
}

test('a passphrase in the environment that is no UTF-8 is taken byte by byte', async t => {
	await withFolder(async folder => {
		const deployFile = join(folder, 'deploy.xml');
		writeFileSync(deployFile, assembly);
		const key = (variable: string, bytes: string, words: string) =>
			runFrom(
				folder,
				`export ${variable}="$(printf '${bytes}')"; exec "$0" "$1" key ${words} --state state --deploy deploy.xml`,
			);
		const added = key('CBE_NEW_PASSPHRASE', String.raw`gr\374n`, 'add');
		t.is(added.status, 0, added.output);
		const other = key('CBE_PASSPHRASE', String.raw`gr\366n`, 'recovery');
		t.is(other.status, 1);
		t.regex(
			other.output,
			/does not open/,
			'another passphrase, which is text with the same replacement characters',
		);
		t.is(key('CBE_PASSPHRASE', String.raw`gr\374n`, 'recovery').status, 0);

		const file = join(folder, 'passphrase');
		writeFileSync(file, Buffer.from('gr\u00FCn', 'latin1'), {mode: 0o600});
		const same = await runRuntime([
			'key',
			'recovery',
			'--passphrase-file',
			file,
			'--state',
			join(folder, 'state'),
			'--deploy',
			deployFile,
		]);
		t.is(same.code, 0, same.output);

		// The anchor of a started device reads it by itself, on a thread.
		const started = runFrom(
			folder,
			String.raw`export CBE_PASSPHRASE="$(printf 'gr\374n')"; "$0" "$1" start deploy.xml --state state > log & pid=$!
			until grep -q "ready\|failed" log; do sleep 0.1; done; kill $pid; wait $pid; cat log`,
		);
		t.regex(started.output, /\[runtime\] ready/);
		t.notRegex(started.output, /locked/);
	});
});

test('a passphrase that is set, but empty, is an error, and makes no anchor without one', async t => {
	await withFolder(async folder => {
		const deployFile = join(folder, 'deploy.xml');
		writeFileSync(deployFile, assembly);
		const state = join(folder, 'state');
		for (const variable of ['CBE_PASSPHRASE', 'CBE_PASSPHRASE_FILE']) {
			const started = await runRuntime(['start', deployFile, '--state', state], {variables: {[variable]: ''}});
			t.is(started.code, 2, started.output);
			t.true(
				started.output.includes(
					`the environment variable ${variable} is set, but empty; unset it, or set it to`,
				),
				started.output,
			);
		}

		t.false(existsSync(state));

		const added = await runRuntime(['key', 'add', '--state', state, '--deploy', deployFile], {
			variables: {CBE_NEW_PASSPHRASE: ''},
		});
		t.is(added.code, 1, added.output);
		t.regex(added.output, /CBE_NEW_PASSPHRASE is set, but empty/);
		t.false(
			existsSync(join(state, 'trust_anchor')) &&
				readdirSync(join(state, 'trust_anchor')).some(name => /^(?:master_key|key_slots)$/.test(name)),
		);

		const runtime = await startRuntime(deployFile, state);
		try {
			const unlocked = await runRuntime(['unlock', '--state', state], {variables: {CBE_PASSPHRASE: ''}});
			t.is(unlocked.code, 1, unlocked.output);
			t.regex(unlocked.output, /CBE_PASSPHRASE is set, but empty/);
		} finally {
			await runtime.stop();
		}
	});
});

test('a path that is no UTF-8 is refused before anything is made, also in its neighbourhood', async t => {
	await withFolder(async folder => {
		for (const script of [
			String.raw`exec "$0" "$1" start --state "$(printf 'st\377te')"`,
			String.raw`exec "$0" "$1" key add --state "$(printf 'st\377te')"`,
			String.raw`exec "$0" "$1" check "$(printf 'd\351ploy.xml')"`,
		]) {
			const {status, output} = runFrom(folder, script);
			t.is(status, 2, output);
			t.regex(output, /^\[runtime\] "(?:st\\xffte|d\\xe9ploy\.xml)" is not UTF-8; rename/);
		}

		t.deepEqual(readdirSync(folder), []);
		const inside = runFrom(folder, String.raw`d="$(printf 'f\374r')"; mkdir "$d"; cd "$d"; exec "$0" "$1" start`);
		t.is(inside.status, 2, inside.output);
		t.regex(inside.output, /the path of the current folder, .*f\\xfcr, is not UTF-8/);
		t.is(readdirSync(folder, {encoding: 'buffer'}).length, 1);
	});
});
