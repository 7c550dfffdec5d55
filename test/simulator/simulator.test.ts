/**
 * Histories of the whole device under crashes, faults and damage. `CBE_SIMULATOR_SECONDS` makes the run longer,
 * `CBE_SIMULATOR_SEED` another one; a failure names the command that repeats it.
 */
import test from 'ava';
import {Campaign} from './campaign.js';
import {Counts} from './counts.js';
import {runHistory} from './history.js';

const seconds = Number(process.env.CBE_SIMULATOR_SECONDS ?? 60);
const seed = Number(process.env.CBE_SIMULATOR_SEED ?? 1);
const crashPointCountMin = 12_000;
const historyCountMin = 150;

/** Met by few histories: it is looked for among those of its kind. The first seed is one that meets it today. */
const rare = {kind: 'full_host', container: 'new', seed: 2, historyCountMax: 300} as const;

test('the device keeps its promises in simulated histories', async t => {
	// A machine that has other work needs several times as long.
	t.timeout((seconds + 1200) * 1000);
	const texts: string[] = [];
	const campaign = new Campaign({
		seed,
		seconds,
		crashPointCountMin,
		historyCountMin,
		report: text => texts.push(text),
	});
	const failureCount = await campaign.run();
	t.log(texts.join('\n'));
	t.is(failureCount, 0, texts.join('\n'));
	t.true(campaign.counts.crashPoints >= crashPointCountMin);
	for (const [name, count] of Object.entries(campaign.counts)) {
		t.true(count > 0 || name === 'readOnlyOpenings', `the run covers no ${name}`);
	}
});

test('a device on a host without any room opens to be read, and goes on once there is room', async t => {
	t.timeout(600_000);
	const counts = new Counts();
	const {kind, container} = rare;
	for (let i = 0; i < rare.historyCountMax && counts.readOnlyOpenings === 0; i++) {
		await runHistory(rare.seed + i, {kind, container, counts});
	}

	t.true(counts.readOnlyOpenings > 0);
});
