/** Runs the simulator from the command line: `npm run soak`, or `node dist/test/simulator/main.js --seconds N --seed S`. */
import {Command, InvalidArgumentError, Option} from 'commander';
import {Campaign} from './campaign.js';
import {historyKinds, type HistoryKind} from './plan.js';

interface Values {
	readonly seconds: number;
	readonly seed: number;
	readonly histories?: number;
	readonly kind?: HistoryKind;
	readonly script?: string;
	readonly keepGoing: boolean;
}

function wholeNumber(text: string): number {
	const value = Number(text);
	if (!Number.isSafeInteger(value) || value < 0) {
		throw new InvalidArgumentError('write a whole number in decimal digits.');
	}

	return value;
}

const program = new Command('simulator')
	.description('Runs devices in memory through random histories with power failures and damage, and compares each with a trivial model.')
	.option('--seconds <count>', 'how long to go on with new histories', wholeNumber, 60)
	.option('--seed <number>', 'the seed of the first history, the next ones follow; by default the time', wholeNumber)
	.option('--histories <count>', 'stop after so many histories instead', wholeNumber)
	.addOption(new Option('--kind <kind>', 'only histories of this kind').choices(historyKinds))
	.option('--script <name>', 'with --kind scripted: only the script of this name')
	.option('--keep-going', 'go on after a failure, to see how many seeds fail', false)
	.parse();
const {seconds, seed = Date.now(), histories, kind, script, keepGoing} = program.opts<Values>();
const campaign = new Campaign({
	seed,
	seconds: histories === undefined ? seconds : Infinity,
	historyCountMax: histories ?? Infinity,
	kind,
	script,
	keepGoing,
	report: text => {
		console.log(text);
	},
});
process.exitCode = await campaign.run() === 0 ? 0 : 1;
