/** A passphrase that is given to the shell on a terminal is neither shown nor kept. */
import {existsSync, readFileSync, statSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, RuntimeProcess, startRuntime, withFolder} from '../support/runtime-process.js';

const passphrase = 'correct horse battery';

testWith(['script'], 'the shell asks for a passphrase without showing it, and keeps no line with one', async t => {
	await withFolder(async folder => {
		const deployFile = join(folder, 'deploy.xml');
		writeFileSync(
			deployFile,
			readFileSync(join(projectFolder, 'deploy.xml'), 'utf8')
				.replace('<config path="trust_anchor"/>', '<config path="trust_anchor" unlock_ms="1" kdf_memory="1M"/>')
				.replace(' mount="cbe"', ''),
		);
		const state = join(folder, 'state');
		const historyFile = join(state, 'shell_history');
		const made = await runRuntime(
			['key', 'add', '--new-passphrase-fd', '3', '--state', state, '--deploy', deployFile],
			{descriptor3: passphrase},
		);
		t.is(made.code, 0, made.output);
		const runtime = await startRuntime(deployFile, state);
		try {
			writeFileSync(historyFile, `echo ${passphrase} > control/unlock\nls -l\n`, {mode: 0o644});
			const shell = new RuntimeProcess(['shell', '--state', state], {terminal: true});
			await shell.answer('cbe:/> ', 'unlock\r');
			await shell.answer('/control/unlock: ', `${passphrase}\r`);
			await shell.answer('cbe:/> ', 'cat control/unlock\r');
			await shell.printed('idle last-result:success');
			t.false(shell.output.includes('horse'), shell.output);

			await shell.answer('cbe:/> ', 'echo true > control/lock\r');
			await shell.answer('cbe:/> ', 'echo > control/unlock\r');
			await shell.answer('control/unlock: ', `${passphrase}\r`);
			await shell.answer('cbe:/> ', 'cat control/lock\r');
			t.false(shell.output.includes('horse'), shell.output);

			await shell.answer('cbe:/> ', `echo ${passphrase} > control/unlock\r`);
			await shell.printed('this line is not kept in the history');
			await shell.answer('cbe:/> ', 'exit\r');
			t.is(await shell.ended, 0);
			t.is(
				readFileSync(historyFile, 'utf8'),
				'cat control/lock\necho true > control/lock\ncat control/unlock\nls -l\n',
			);
			t.is(statSync(historyFile).mode & 0o777, 0o600);

			const said = await runRuntime(['shell', '--state', state, '-c', `echo ${passphrase} > control/unlock`]);
			t.is(said.code, 2, said.output);
			t.regex(said.output, /every user of this machine can read a command line; leave the words out/);
		} finally {
			await runtime.stop();
		}

		t.true(existsSync(historyFile));
		t.false(runtime.output.includes('horse'), runtime.output);
	});
});
