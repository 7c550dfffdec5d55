/**
 * Runs the simulator from the command line: `npm run soak`, or `node dist/test/simulator/main.js --seconds N --seed S`.
 */
import {Command, InvalidArgumentError, Option} from 'commander';
import {Campaign} from './campaign.js';
import {planChoices, optionsFault, type PlanOptions} from './plan.js';

interface Values extends PlanOptions {
	readonly seconds: number;
	readonly seed: number;
	readonly histories?: number;
	readonly keepGoing: boolean;
	readonly trace: boolean;
}

function wholeNumber(text: string): number {
	const value = Number(text);
	if (!Number.isSafeInteger(value) || value < 0) {
		throw new InvalidArgumentError('write a whole number in decimal digits.');
	}

	return value;
}

const program = new Command('simulator')
	.description(
		'Runs devices in memory through random histories with power failures and damage, and compares each with a trivial model.',
	)
	.option('--seconds <count>', 'how long to go on with new histories', wholeNumber, 60)
	.option('--seed <number>', 'the seed of the first history, the next ones follow; by default the time', wholeNumber)
	.option('--histories <count>', 'stop after so many histories instead', wholeNumber)
	.addOption(new Option('--kind <kind>', 'only histories of this kind').choices(planChoices.kind))
	.addOption(
		new Option('--script <name>', 'with --kind scripted: only the script of this name').choices(planChoices.script),
	)
	.addOption(new Option('--cipher <name>', 'only containers with this cipher').choices(planChoices.cipher))
	.addOption(
		new Option('--crypto <server>', 'only with this crypto server; quick is no secret').choices(planChoices.crypto),
	)
	.addOption(
		new Option('--inner-blocks <form>', 'only containers whose inner blocks lie so').choices(
			planChoices['inner-blocks'],
		),
	)
	.addOption(
		new Option(
			'--container <age>',
			'only containers made by the device itself (new), or by an earlier program (old)',
		).choices(planChoices.container),
	)
	.option('--keep-going', 'go on after a failure, to see how many seeds fail', false)
	.option('--trace', 'print of each history a number that differs where anything in it does', false)
	.parse();
const {seconds, seed = Date.now(), histories, keepGoing, trace, ...planOptions} = program.opts<Values>();
const fault = optionsFault(planOptions);
if (fault !== undefined) {
	program.error(fault);
}

const campaign = new Campaign({
	seed,
	seconds: histories === undefined ? seconds : Infinity,
	historyCountMax: histories ?? Infinity,
	planOptions,
	keepGoing,
	traces: trace,
	report: text => {
		console.log(text);
	},
});
process.exitCode = (await campaign.run()) === 0 ? 0 : 1;
