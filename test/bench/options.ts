/** The command line of the bench. */
import {resolve} from 'node:path';
import {parseArgs} from 'node:util';
import {cells, coldCells, type Cell} from './cell.js';
import {shippedAssemblies} from './device-target.js';

export const parts = [
	'nbd',
	'process',
	'limits',
	'cold',
	'rekeying',
	'scale',
	'cores',
	'latency',
	'amplification',
	'mkfs',
	'assemblies',
] as const;
/** What runs unless the command line says otherwise: the comparison. */
const defaultParts: readonly string[] = ['nbd', 'process', 'limits'];
export type Part = (typeof parts)[number];

/** The command line cannot be understood; the message is for its author. */
export class OptionError extends Error {
	override readonly name = 'OptionError';
}

export interface Options {
	readonly help: boolean;
	readonly assemblies: readonly string[];
	readonly cells: readonly Cell[];
	/** Of the part cold. */
	readonly coldCells: readonly Cell[];
	readonly roundCount: number;
	readonly seconds: number;
	readonly rangeByteLength: number;
	readonly parts: ReadonlySet<Part>;
	/** GiB. */
	readonly sizes: readonly number[];
	readonly directory: string | undefined;
	readonly diskDirectory: string | undefined;
	readonly jsonFile: string | undefined;
	readonly profileDirectory: string | undefined;
}

export const help = `Usage: npm run bench -- [options]

  --assemblies LIST     assemblies to measure (default: deploy.xml,low_latency.xml); without a list: all that are shipped, in
                        the part assemblies unless --parts names others
  --cells LIST          cells to measure (default: all): ${cells.map(({name}) => name).join(' ')};
                        of the part cold: ${coldCells.map(({name}) => name).join(' ')}
  --rounds N            rounds, of which the median counts (default: 5)
  --seconds S           time for each cell, target and round (default: 3)
  --range MIB           MiB at the device's start that are filled and measured (default: 512, at most 1024)
  --parts LIST          what to run (default: ${defaultParts.join(',')}; others: cold, rekeying, scale, cores, latency,
                        amplification, mkfs, assemblies)
  --sizes LIST          GiB of the devices of the part scale (default: 1,64)
  --directory DIR       where images lie (default: /dev/shm where it has room, else var)
  --disk-directory DIR  where images of the cells on disk lie (default: var)
  --json FILE           writes all samples there, too; - for standard output, instead of the tables
  --profile DIR         profiles the assemblies under the chosen cells into DIR instead of comparing them
  --help                this text`;

const rangeMaxMiB = 1024;

function positive(name: string, text: string): number {
	const value = Number(text);
	if (!(value > 0)) {
		throw new OptionError(`--${name} ${text}: give a number above 0`);
	}

	return value;
}

function whole(name: string, text: string): number {
	const value = positive(name, text);
	if (!Number.isInteger(value)) {
		throw new OptionError(`--${name} ${text}: give a whole number`);
	}

	return value;
}

function listed(text: string): string[] {
	return text
		.split(',')
		.map(word => word.trim())
		.filter(word => word !== '');
}

function cellNamed(name: string): Cell {
	const all = [...cells, ...coldCells];
	const cell = all.find(candidate => candidate.name === name);
	if (!cell) {
		throw new OptionError(
			`there is no cell "${name}"; the cells are ${all.map(candidate => candidate.name).join(', ')}`,
		);
	}

	return cell;
}

function partNamed(name: string): Part {
	const part = parts.find(candidate => candidate === name);
	if (!part) {
		throw new OptionError(`there is no part "${name}"; the parts are ${parts.join(', ')}`);
	}

	return part;
}

/** `--assemblies` may stand without a list, which parseArgs does not know. */
function withoutBareAssemblies(words: readonly string[]): {words: readonly string[]; isBare: boolean} {
	const at = words.indexOf('--assemblies');
	const isBare = at !== -1 && (words.at(at + 1)?.startsWith('--') ?? true);
	return {words: isBare ? words.toSpliced(at, 1) : words, isBare};
}

function parsed(words: readonly string[]) {
	const text = {type: 'string'} as const;
	try {
		return parseArgs({
			args: [...words],
			options: {
				help: {type: 'boolean', default: false},
				assemblies: {...text, default: 'deploy.xml,low_latency.xml'},
				cells: text,
				rounds: {...text, default: '5'},
				seconds: {...text, default: '3'},
				range: {...text, default: '512'},
				parts: text,
				sizes: {...text, default: '1,64'},
				directory: text,
				'disk-directory': text,
				json: text,
				profile: text,
			},
		}).values;
	} catch (error) {
		throw new OptionError((error as Error).message);
	}
}

/** @throws OptionError */
export function parseOptions(given: readonly string[]): Options {
	const {words, isBare} = withoutBareAssemblies(given);
	const values = parsed(words);
	const partNames = values.parts === undefined ? (isBare ? ['assemblies'] : defaultParts) : listed(values.parts);
	const rangeMiB = whole('range', values.range);
	if (rangeMiB > rangeMaxMiB) {
		throw new OptionError(`--range ${rangeMiB}: the devices have ${rangeMaxMiB} MiB`);
	}

	const named = values.cells === undefined ? undefined : listed(values.cells).map(name => cellNamed(name));
	const cold = named?.filter(({storage}) => storage === 'cold') ?? [];
	return {
		help: values.help,
		assemblies: isBare ? shippedAssemblies() : listed(values.assemblies),
		cells: named?.filter(({storage}) => storage !== 'cold') ?? cells,
		coldCells: cold.length > 0 ? cold : coldCells,
		roundCount: whole('rounds', values.rounds),
		seconds: whole('seconds', values.seconds),
		rangeByteLength: rangeMiB * 2 ** 20,
		parts: new Set(partNames.map(name => partNamed(name))),
		sizes: listed(values.sizes).map(size => whole('sizes', size)),
		directory: values.directory,
		diskDirectory: values['disk-directory'],
		jsonFile: values.json,
		profileDirectory: values.profile === undefined ? undefined : resolve(values.profile),
	};
}
