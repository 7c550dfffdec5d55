/**
 * Histories of the whole device under crashes, faults and damage. `CBE_SIMULATOR_SECONDS` makes the run longer,
 * `CBE_SIMULATOR_SEED` another one; a failure names the command that repeats it.
 */
import test from 'ava';
import {Campaign} from './campaign.js';

const seconds = Number(process.env.CBE_SIMULATOR_SECONDS ?? 60);
const seed = Number(process.env.CBE_SIMULATOR_SEED ?? 1);
const crashPointCountMin = 20_000;

test('the device keeps its promises in simulated histories', async t => {
	// A machine that has other work needs several times as long.
	t.timeout((seconds + 600) * 1000);
	const texts: string[] = [];
	const campaign = new Campaign({seed, seconds, crashPointCountMin, report: text => texts.push(text)});
	const failureCount = await campaign.run();
	t.log(texts.join('\n'));
	t.is(failureCount, 0, texts.join('\n'));
	t.true(campaign.counts.crashPoints >= crashPointCountMin);
	for (const [name, count] of Object.entries(campaign.counts)) {
		t.true(count > 0, `the run covers no ${name}`);
	}
});
