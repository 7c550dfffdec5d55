/** The commit protocol in Promela: spin finds nothing wrong with it, and with any of its rules left out it does. */
import {join} from 'node:path';
import {fileURLToPath} from 'node:url';
import {temporaryDirectory} from '../support/component-stand.js';
import {runTool, testWith} from '../support/external-tools.js';

const model = fileURLToPath(new URL('../../../test/model/commit.pml', import.meta.url));
const programs = ['spin', 'gcc'];

interface Verdict {
	readonly stateCount: number;
	readonly errorCount: number;
}

/** Goes through all states of the model; without the rule of that number where it is not 0. */
async function check(broken: number): Promise<Verdict> {
	const folder = temporaryDirectory();
	await runTool('spin', [`-DBREAK=${broken}`, '-a', model], folder);
	await runTool('gcc', ['-O0', '-w', '-DSAFETY', '-DCOLLAPSE', '-DMEMLIM=1024', '-o', 'pan', 'pan.c'], folder);
	const printed = await runTool(join(folder, 'pan'), ['-m300000', '-w22', '-n'], folder);
	const errors = /errors: (\d+)/.exec(printed)?.[1];
	const states = /([\d.e+]+) states, stored/.exec(printed)?.[1];
	if (errors === undefined || states === undefined || /max search depth too small|out of memory/.test(printed)) {
		throw new Error(`spin did not go through the model:\n${printed}`);
	}

	return {stateCount: Number(states), errorCount: Number(errors)};
}

testWith(programs, 'the model of the commit protocol keeps its assertions in every state', async t => {
	t.timeout(120_000);
	const {stateCount, errorCount} = await check(0);
	t.log(`${stateCount} states`);
	t.is(errorCount, 0);
	t.true(stateCount > 100_000);
});

for (const [i, rule] of [
	'the first sync of a checkpoint',
	'the announcement',
	'the second sync of a checkpoint',
	'the sync of a flush',
	'a flush is durable before it is acknowledged',
	'a checkpoint takes the slot behind the one that counts',
	'an entry lies behind the last one',
	'a superblock that was found is durable before it is anchored',
	'a flush that was found is durable before it is anchored',
].entries()) {
	testWith(programs, `the model fails without this rule: ${rule}`, async t => {
		t.timeout(120_000);
		const {errorCount} = await check(i + 1);
		t.not(errorCount, 0);
	});
}
