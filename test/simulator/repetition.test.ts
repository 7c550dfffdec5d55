/**
 * A seed alone decides a history: what the process has run before leaves nothing behind that it meets. So the command
 * that a failure prints repeats it. All histories here run in one process, and of each kind the last one in a process
 * of its own, too.
 */
import {exec} from 'node:child_process';
import {delimiter, dirname} from 'node:path';
import {promisify} from 'node:util';
import test from 'ava';
import {projectFolder} from '../support/runtime-process.js';
import {repeatCommand, runHistory} from './history.js';
import {historyKinds, type PlanOptions} from './plan.js';
import {Trace} from './trace.js';

interface Campaign extends PlanOptions {
	/** One after another. */
	readonly seeds?: readonly number[];
}

const campaigns: readonly Campaign[] = [
	...historyKinds.filter(kind => kind !== 'scripted' && kind !== 'restarts').map(kind => ({kind})),
	// These are long; short ones stand for them.
	{kind: 'scripted', script: 'leaves that an old snapshot never wrote'},
	{kind: 'restarts', seeds: [2]},
	// A real crypto server works on after its world has ended.
	{kind: 'long', crypto: 'openssl'},
	{kind: 'full_host', container: 'old', innerBlocks: 'encrypted', crypto: 'noble'},
];

/** Whether it fails or not is no matter here. */
async function traceAfterOthers(seed: number, planOptions: PlanOptions): Promise<string> {
	const trace = new Trace();
	await runHistory(seed, {...planOptions, trace}).catch(() => undefined);
	return `seed ${seed}: ${trace.toString()}`;
}

/** By the command that a failure prints. */
async function traceAlone(seed: number, planOptions: PlanOptions): Promise<string> {
	const env = {...process.env, PATH: `${dirname(process.execPath)}${delimiter}${process.env.PATH}`};
	const {stdout} = await promisify(exec)(`${repeatCommand(seed, planOptions)} --trace`, {
		cwd: projectFolder,
		env,
	}).catch((error: unknown) => error as {stdout: string});
	return /^seed \d+: trace of .*$/m.exec(stdout)?.[0] ?? stdout;
}

const traces: string[] = [];

for (const {seeds = [15, 16, 17], ...planOptions} of campaigns) {
	test.serial(`${Object.values(planOptions).join(', ')}: the same after other histories as alone`, async t => {
		t.timeout(240_000);
		let after = '';
		for (const seed of seeds) {
			after = await traceAfterOthers(seed, planOptions);
			traces.push(after);
		}

		t.is(after, await traceAlone(seeds.at(-1)!, planOptions));
	});
}

test.serial('each history has another trace', t => {
	t.is(new Set(traces).size, traces.length);
});
