/** State directories whose sockets have paths longer than the system takes. */
import {mkdirSync, readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';

const raw = readFileSync(join(projectFolder, 'config/assemblies/raw.xml'), 'utf8');

/** A path in `folder` with so many bytes. */
function pathOfLength(folder: string, length: number): string {
	return join(folder, 'd'.repeat(length - Buffer.byteLength(folder) - 1));
}

for (const length of [90, 93, 98, 107, 200]) {
	test(`a runtime in a state directory with a path of ${length} bytes is reached`, async t => {
		await withFolder(async folder => {
			const deploy = join(folder, 'deploy.xml');
			// Clients are no part of this: their socket has a path of its own.
			mkdirSync(join(folder, 'n'));
			writeFileSync(deploy, raw.replace('path="nbd.sock"', `path="${join(folder, 'n/nbd.sock')}"`));
			const state = pathOfLength(folder, length);
			const runtime = await startRuntime(deploy, state);
			try {
				t.notRegex(runtime.output, /no control socket/);
				const {code, output} = await runRuntime(['status', '--state', state]);
				t.is(code, 0);
				t.regex(output, /^block_file +block_file +up/m);
			} finally {
				await runtime.stop();
			}

			const {code, output} = await runRuntime(['status', '--state', state]);
			t.is(code, 1);
			t.regex(output, /no runtime uses the state directory/);
		});
	});
}

test('a socket for clients whose path would be too long is refused before anything is made', async t => {
	await withFolder(async folder => {
		const {code, output} = await runRuntime([
			'start',
			join(projectFolder, 'config/assemblies/raw.xml'),
			'--state',
			pathOfLength(folder, 100),
		]);
		t.is(code, 2);
		t.regex(
			output,
			/raw\.xml:\d+:\d+: error: child "nbd": the path of the socket .* has 109 bytes, and the system takes no more than 107; choose a shorter state directory or path/,
		);
	});
});
