/**
 * The default assembly, started with a passphrase in its environment: who looks from outside finds neither it nor a
 * debugger.
 */
import {readFileSync, readdirSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import test from 'ava';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';

const passphrase = 'Zk7-needle-passphrase-Q9';

function childrenOf(pid: number): number[] {
	const children = readdirSync(`/proc/${pid}/task`).flatMap(tid =>
		readFileSync(`/proc/${pid}/task/${tid}/children`, 'utf8').split(' ').filter(Boolean).map(Number),
	);
	return children.flatMap(child => [child, ...childrenOf(child)]);
}

test('no passphrase in the environment of the runtime and its helpers, no debugger, no core dump', async t => {
	await withFolder(async folder => {
		const deployFile = join(folder, 'deploy.xml');
		writeFileSync(
			deployFile,
			readFileSync(join(projectFolder, 'deploy.xml'), 'utf8').replace(
				'<config path="trust_anchor"/>',
				'<config path="trust_anchor" unlock_ms="1" kdf_memory="1M"/>',
			),
		);
		const runtime = await startRuntime(deployFile, join(folder, 'state'), {
			variables: {CBE_PASSPHRASE: passphrase, CBE_TEST_TOKEN: 'token-of-somebody'},
		});
		try {
			const helpers = childrenOf(runtime.pid);
			for (const pid of [runtime.pid, ...helpers]) {
				const environment = readFileSync(`/proc/${pid}/environ`, 'latin1');
				t.false(environment.includes(passphrase), `process ${pid}`);
				t.is(environment.includes('token-of-somebody'), pid === runtime.pid, `process ${pid}`);
				t.regex(readFileSync(`/proc/${pid}/limits`, 'utf8'), /^Max core file size\s+0\s+0\s/m);
			}

			process.kill(runtime.pid, 'SIGUSR1');
			await setTimeout(500);
			t.notRegex(runtime.output, /debugger/i);

			// What was taken out of the environment opens the anchor again; the command that asks for it has none to
			// give.
			for (const words of [['lock'], ['unlock'], ['restart', 'trust_anchor']]) {
				const {code, output} = await runRuntime([...words, '--state', join(folder, 'state')]);
				t.is(code, 0, output);
			}

			// Answered by the restarted one: a locked one would refuse.
			const used = await runRuntime(['snapshot', 'create', '--state', join(folder, 'state')]);
			t.is(used.code, 0, used.output);
			t.notRegex(runtime.output, /is locked/);
		} finally {
			t.is(await runtime.stop(), 0, runtime.output);
		}
	});
});
