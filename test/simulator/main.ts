/** Runs the simulator from the command line: `node dist/test/simulator/main.js --seconds N --seed S`. */
import {parseArgs} from 'node:util';
import {Campaign} from './campaign.js';
import type {HistoryKind} from './plan.js';

const {values} = parseArgs({
	options: {
		/** How long to go on with new histories. */
		seconds: {type: 'string', default: '60'},
		/** The seed of the first history; the next ones follow. */
		seed: {type: 'string', default: String(Date.now())},
		/** Stops after so many histories. */
		histories: {type: 'string'},
		/** Only histories of this kind. */
		kind: {type: 'string'},
		/** With `--kind scripted`: only the script of this name. */
		script: {type: 'string'},
		/** Goes on after a failure, to see how many seeds fail. */
		'keep-going': {type: 'boolean', default: false},
	},
});

const campaign = new Campaign({
	seed: Number(values.seed),
	seconds: values.histories === undefined ? Number(values.seconds) : Infinity,
	historyCountMax: Number(values.histories ?? Infinity),
	kind: values.kind as HistoryKind | undefined,
	script: values.script,
	keepGoing: values['keep-going'],
	report: text => {
		console.log(text);
	},
});
process.exitCode = await campaign.run() === 0 ? 0 : 1;
