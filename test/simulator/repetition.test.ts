/**
 * A seed alone decides a history: the process that has run others before leaves nothing behind that it meets. So the command that
 * a failure prints repeats it.
 */
import {execFile} from 'node:child_process';
import {fileURLToPath} from 'node:url';
import {promisify} from 'node:util';
import test from 'ava';
import {historyKinds} from './plan.js';

const mainFile = fileURLToPath(new URL('main.js', import.meta.url));

/** The traces of the histories of a process of its own. */
async function tracesOf(seed: number, histories: number, options: readonly string[]): Promise<Map<number, string>> {
	const {stdout} = await promisify(execFile)(process.execPath, [mainFile, '--seed', String(seed), '--histories', String(histories), '--keep-going', '--trace', ...options]);
	return new Map([...stdout.matchAll(/^seed (\d+): (trace of .*)$/gm)].map(([, number, trace]) => [Number(number), trace]));
}

/** Scripts are long: one of the shorter ones stands for them. And a real crypto server works on after its world has ended. */
const campaigns = [
	...historyKinds.map(kind => ['--kind', kind, ...kind === 'scripted' ? ['--script', 'leaves that an old snapshot never wrote'] : []]),
	['--kind', 'long', '--crypto', 'openssl'],
	['--kind', 'full_host', '--container', 'old', '--inner-blocks', 'encrypted', '--crypto', 'noble'],
];

for (const options of campaigns) {
	for (const seed of [13, 17]) {
		test.serial(`${options.join(' ')} --seed ${seed}: the same after two other histories as alone`, async t => {
			t.timeout(240_000);
			const after = await tracesOf(seed - 2, 3, options);
			const alone = await tracesOf(seed, 1, options);
			t.deepEqual([after.size, alone.size], [3, 1]);
			t.is(after.get(seed), alone.get(seed));
		});
	}
}

test('another seed has another trace', async t => {
	const traces = await tracesOf(1, 3, ['--kind', 'creation']);
	t.is(new Set(traces.values()).size, 3);
});
