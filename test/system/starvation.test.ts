/** A component that gets no CPU is not dead: its threads are starved for several times the heartbeat's patience. */
import {spawn} from 'node:child_process';
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {requestControl, type RuntimeStatus} from '../../runtime/supervisor/control-client.js';
import {runTool, testWith} from '../support/external-tools.js';
import {projectFolder, startRuntime, withFolder} from '../support/runtime-process.js';

const heartbeatMs = 200;
const starvedMs = 6000;

testWith(['chrt', 'taskset'], 'threads that get no CPU are not taken for dead, and go on when they get it', async t => {
	t.timeout(120_000);
	await withFolder(async folder => {
		const file = join(folder, 'raw.xml');
		writeFileSync(
			file,
			readFileSync(join(projectFolder, 'config/assemblies/raw.xml'), 'utf8').replace(
				'rate_ms="2000"',
				`rate_ms="${heartbeatMs}"`,
			),
		);
		const runtime = await startRuntime(file, folder);
		const {children} = (await requestControl(folder, {op: 'status'})) as RuntimeStatus;
		const tids = children.map(({tid}) => String(tid));
		for (const tid of tids) {
			await runTool('taskset', ['-cp', '0', tid]);
			// Runs only where nobody else wants the CPU.
			await runTool('chrt', ['--idle', '-p', '0', tid]);
		}

		const burners = Array.from({length: 3}, () =>
			spawn('taskset', ['-c', '0', process.execPath, '-e', 'for (;;);'], {stdio: 'ignore'}),
		);
		await setTimeout(starvedMs);
		const meanwhile = runtime.output;
		for (const burner of burners) {
			burner.kill('SIGKILL');
		}

		t.notRegex(meanwhile, /missed its heartbeat/);
		t.regex(meanwhile, /warning: got no CPU for \d+ of \d+ ms: this machine is overloaded; requests wait with it/);
		await runtime.printed('it gets the CPU again');
		const after = (await requestControl(folder, {op: 'status'})) as RuntimeStatus;
		t.deepEqual(
			after.children.map(({tid, restarts}) => [String(tid), restarts]),
			tids.map(tid => [tid, 0]),
		);
		t.is(await runtime.stop(), 0);
	});
});
