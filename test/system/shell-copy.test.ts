/** The shell's dd on the real program: what is copied arrives, and about as fast as with nbdcopy. */
import {randomBytes} from 'node:crypto';
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {missingRequirements, runTool} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';

const MiB = 2 ** 20;

async function millisecondsOf(job: () => Promise<unknown>): Promise<number> {
	const startedAt = performance.now();
	await job();
	return performance.now() - startedAt;
}

test.serial('dd copies in and out in pieces of any size, from and to any offset', async t => {
	await withFolder(async folder => {
		const state = join(folder, 'state');
		const runtime = await startRuntime(join(projectFolder, 'config/assemblies/low_latency.xml'), state);
		try {
			const shell = async (command: string) =>
				runRuntime(['shell', '--state', state, '-c', command], {directory: folder});
			const data = randomBytes(64 * MiB + 12_345);
			writeFileSync(join(folder, 'in.bin'), data);
			const written = await shell('dd if=host:in.bin of=current/data bs=4k seek=3');
			t.is(written.code, 0, written.output);
			t.regex(written.output, /^67121209 bytes copied \(64\.0 MiB\) in \d+\.\d s, [\d.]+ \w+\/s\n$/);
			t.is((await shell('dd if=current/data of=host:out.bin bs=4k skip=3 count=16388')).code, 0);
			t.true(readFileSync(join(folder, 'out.bin')).subarray(0, data.length).equals(data));
			t.regex(
				(await shell('dd if=current/data of=host:/dev/null bs=1M skip=1023 count=5')).output,
				/^1048576 bytes copied/,
			);
			const refused = await shell('dd if=host:in.bin of=current/data bs=1M seek=1023');
			t.is(refused.code, 1);
			t.regex(refused.output, /reach beyond the end of the device/);
			if (missingRequirements(['nbdcopy']).length === 0) {
				const uri = `nbd+unix:///?socket=${join(state, 'nbd.sock')}`;
				const ddMs = await millisecondsOf(async () => shell('dd if=host:in.bin of=current/data'));
				const nbdcopyMs = await millisecondsOf(async () =>
					runTool('nbdcopy', ['--flush', join(folder, 'in.bin'), uri]),
				);
				t.log(`64 MiB written: dd ${Math.round(ddMs)} ms, nbdcopy ${Math.round(nbdcopyMs)} ms`);
				// With the start of Node.js, and on a machine that is busy with other tests; base64 over one connection
				// took 20 times as long.
				t.true(ddMs < 6 * nbdcopyMs + 3000, `dd took ${ddMs} ms, nbdcopy ${nbdcopyMs} ms`);
			}
		} finally {
			await runtime.stop();
		}
	});
});
