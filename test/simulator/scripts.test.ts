/** Each scripted history, with a crash at every change of medium and anchor. */
import test from 'ava';
import {Campaign} from './campaign.js';
import {scripts} from './script.js';

for (const {name} of scripts) {
	test.serial(`crashes at every change: ${name}`, async t => {
		t.timeout(120_000);
		const texts: string[] = [];
		const campaign = new Campaign({
			seed: 1,
			seconds: Infinity,
			historyCountMax: 1,
			planOptions: {kind: 'scripted', script: name},
			report: text => texts.push(text),
		});
		t.is(await campaign.run(), 0, texts.join('\n'));
		t.true(campaign.counts.crashPoints > 20, `only ${campaign.counts.crashPoints} crash points`);
	});
}
