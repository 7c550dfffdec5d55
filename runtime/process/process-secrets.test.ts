import {spawnSync} from 'node:child_process';
import test from 'ava';
import koffi from 'koffi';
import {variableBytes, wipeVariable} from './process-environment.js';
import {dropSecret, giveSecret, sharedSecret, sharedSecrets} from './process-secrets.js';
import {copyOfShared} from '../transport/shared-secret.js';

/** That of the process; the test's thread has a copy. */
const setVariable = koffi.load(null).func('int setenv(const char *name, const char *value, int overwrite)') as (
	name: string,
	value: string,
	overwrite: number,
) => number;
const name = 'CBE_TEST_SECRET';

test.serial('a secret is taken out of the environment, and stays for who asks again', t => {
	setVariable(name, 'in the environment', 1);
	const [first, again] = [sharedSecret(name), sharedSecret(name)];
	t.is(first, again);
	t.is(copyOfShared(first!).toString(), 'in the environment');
	t.is(variableBytes(name), undefined);
	t.deepEqual([...sharedSecrets([name, 'CBE_TEST_NOT_SET']).keys()], [name]);
	giveSecret(name, Buffer.from('typed'));
	t.true(
		new Uint8Array(first!).every(byte => byte === 0),
		'what it replaces is wiped',
	);
	t.is(copyOfShared(sharedSecret(name)!).toString(), 'typed');
	dropSecret(name);
	t.is(sharedSecret(name), undefined);
});

test.serial('set to nothing is told from not set', t => {
	setVariable(name, '', 1);
	t.is(variableBytes(name)?.length, 0);
	wipeVariable(name);
	const unset = variableBytes(name);
	t.is(unset, undefined);
});

test('a variable has the bytes that it was given, and is gone from where the system shows it', t => {
	const script = `import(${JSON.stringify(new URL('process-environment.js', import.meta.url).href)}).then(({variableBytes, wipeVariable}) => {
		const shown = () => require('node:fs').readFileSync('/proc/self/environ').includes('${name}=gr');
		const bytes = variableBytes('${name}').toString('hex');
		const before = shown();
		wipeVariable('${name}');
		console.log(bytes, before, shown());
	})`;
	const run = (value: string) =>
		spawnSync('/bin/sh', ['-c', `exec env ${name}="$(printf '${value}')" "$0" -e "$1"`, process.execPath, script], {
			encoding: 'utf8',
		});
	const umlaut = run(String.raw`gr\374n`);
	t.is(umlaut.stdout, '6772fc6e true false\n', umlaut.stderr);
	t.is(run(String.raw`gr\366n`).stdout, '6772f66e true false\n');
});
