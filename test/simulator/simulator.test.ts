/**
 * Histories of the whole device under crashes, faults and damage. `CBE_SIMULATOR_SECONDS` makes the run longer,
 * `CBE_SIMULATOR_SEED` another one; a failure names the command that repeats it.
 */
import test from 'ava';
import {Campaign} from './campaign.js';

const seconds = Number(process.env.CBE_SIMULATOR_SECONDS ?? 60);
const seed = Number(process.env.CBE_SIMULATOR_SEED ?? 1);

test('the device keeps its promises in simulated histories', async t => {
	t.timeout((seconds + 240) * 1000);
	const texts: string[] = [];
	const campaign = new Campaign({seed, seconds, report: text => texts.push(text)});
	const failureCount = await campaign.run();
	t.log(texts.join('\n'));
	t.is(failureCount, 0, texts.join('\n'));
	for (const [name, count] of Object.entries(campaign.counts)) {
		t.true(count > 0, `a run of ${seconds} s covers no ${name}`);
	}
});
