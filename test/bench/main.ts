/** `npm run bench`: the device beside its peers and its limits, as Markdown tables. */
import {join} from 'node:path';
import {amplificationTable, measureAmplification} from './amplification.js';
import {cipherOf} from './assembly-profile.js';
import {assembliesSeconds, assembliesTables, measureAssemblies} from './assembly-table.js';
import {Calibration} from './calibration.js';
import type {Cell} from './cell.js';
import {coldLines, dropPageCache, whyNotCold} from './cold.js';
import {compare, emptyComparison, type CellResult} from './comparison.js';
import {coresSeconds, coresTables, measureCores} from './cores.js';
import {DeviceTarget} from './device-target.js';
import type {GrowingTable} from './growing-table.js';
import {latencySeconds, latencyTable, measureLatency} from './latency.js';
import {cipherLimits, mediumSpeed, type CipherLimit, type MediumSpeed} from './limit.js';
import type {LocalDevice} from './local-device.js';
import {measuredCiphers, type MeasuredCipher} from './measured-cipher.js';
import {measureMkfs, mkfsSeconds, mkfsTable} from './mkfs.js';
import {OptionError, help, parseOptions, parts as partNames, type Options, type Part} from './options.js';
import {depths, makeOriginalDevice, runOriginalLoad, type OriginalLoadResult} from './original-load.js';
import {PartResults} from './part-results.js';
import {missingPrograms} from './program.js';
import {profileCells, type CellProfile} from './profiling.js';
import {Progress, type ReportProgress} from './progress.js';
import {coldQemuTargets, qemuTargets} from './qemu-target.js';
import {measureRekeying, type RekeyingResult} from './rekeying-speed.js';
import {
	comparisonLines,
	limitLines,
	machineLines,
	memoryLines,
	noiseLines,
	originalLoadLines,
	profileLines,
	rekeyingLines,
	shareLines,
} from './report.js';
import {measureScale, scaleSeconds, scaleTables} from './scale.js';
import {measureWakeUps, wakeUpLines} from './wake-up.js';
import {cleanUpAtExit, defaultDirectory, isMemory, makeFolder, removeFolder} from './workspace.js';

/** Room for inner blocks and spare blocks beside the range. */
const imageOverhead = 256 * 2 ** 20;
/** Time for each measurement of a limit. */
const limitMs = 1000;
const peerCount = 2;
const usageExitCode = 2;

/** What runs when the bench is interrupted fails then; that is nothing to complain about. */
let wasInterrupted = false;

function print(lines: readonly string[]): void {
	process.stdout.write(`${lines.join('\n')}\n`);
}

function complain(text: string): void {
	process.stderr.write(`[bench] ${text}\n`);
}

function directoryFor(
	storage: Cell['storage'],
	options: Options,
	targetCount = options.assemblies.length + peerCount,
): string {
	const chosen = storage === 'memory' ? options.directory : options.diskDirectory;
	return (
		chosen ??
		defaultDirectory(
			storage === 'memory' ? 'memory' : 'disk',
			targetCount * (options.rangeByteLength + imageOverhead),
		)
	);
}

async function inFolder<T>(place: string, use: (directory: string) => Promise<T>): Promise<T> {
	const directory = makeFolder(place);
	try {
		return await use(directory);
	} finally {
		removeFolder(directory);
	}
}

/** What all parts work with. */
interface Stand {
	readonly options: Options;
	readonly calibration: Calibration;
	readonly results: PartResults;
	readonly report: ReportProgress;
	/** What the part nbd measured. */
	readonly compared: CellResult[];
}

function addTables({results}: Stand, tables: readonly GrowingTable[]): void {
	for (const table of tables) {
		results.add({lines: () => table.lines, data: () => table.data});
	}
}

async function compareOn(storage: Cell['storage'], stand: Stand): Promise<void> {
	const {options, results, compared} = stand;
	const cells = options.cells.filter(cell => cell.storage === storage);
	if (cells.length === 0) {
		return;
	}

	const place = directoryFor(storage, options);
	await inFolder(place, async directory => {
		const {targets: peers, missing} = qemuTargets(directory);
		const targets = [...options.assemblies.map(name => new DeviceTarget(name, directory)), ...peers];
		const comparison = emptyComparison({targets, cells});
		compared.push(...comparison.results);
		results.add({
			lines: () => [
				`Images for ${cells.map(({name}) => name).join(', ')}: ${place} (${isMemory(place) ? 'memory' : 'disk'}).`,
				...(missing.length > 0
					? [`No peers: ${missing.join(', ')} missing.`]
					: ['Peers: qemu-nbd with its default cache=writeback and aio=threads.']),
				'',
				...comparisonLines(comparison.results),
				...(comparison.memory.length > 0 ? memoryLines(comparison.memory, storage) : []),
			],
			data: () => comparison,
		});
		await compare(
			{...options, targets, cells, directory, calibration: stand.calibration, report: stand.report},
			comparison,
		);
	});
}

async function measureNbd(stand: Stand): Promise<void> {
	if (missingPrograms(['fio']).length > 0) {
		stand.results.add({lines: () => ['fio is missing, so nothing is measured over NBD.'], data: () => undefined});
		return;
	}

	await compareOn('memory', stand);
	await compareOn('disk', stand);
}

/** Reads that nobody has in memory: what the disk's depth is worth. */
async function measureCold(stand: Stand): Promise<void> {
	const {options, results} = stand;
	const place = directoryFor('cold', options);
	const reason = whyNotCold(place);
	if (reason !== undefined) {
		results.add({lines: () => [`Nothing is read cold: ${reason}.`, ''], data: () => reason});
		return;
	}

	await inFolder(place, async directory => {
		const {targets: peers, missing} = coldQemuTargets(directory);
		const targets = [...options.assemblies.map(name => new DeviceTarget(name, directory)), ...peers];
		const comparison = emptyComparison({targets, cells: options.coldCells});
		results.add({
			lines: () => [
				`Images for reads from the disk: ${place}; the page cache is dropped before each measurement.`,
				...(missing.length > 0 ? [`No peers: ${missing.join(', ')} missing.`] : []),
				'',
				...coldLines(comparison.results),
			],
			data: () => comparison,
		});
		await compare(
			{
				...options,
				targets,
				cells: options.coldCells,
				directory,
				calibration: stand.calibration,
				report: stand.report,
				prepare: dropPageCache,
			},
			comparison,
		);
	});
}

async function measureInProcess({options: {roundCount}, results, report}: Stand): Promise<void> {
	const passes: OriginalLoadResult[] = [];
	results.add({lines: () => (passes.length > 0 ? originalLoadLines(passes) : []), data: () => passes});
	await inFolder(defaultDirectory('memory', imageOverhead), async directory => {
		const devices: Array<{readonly cipher: MeasuredCipher; readonly device: LocalDevice}> = [];
		try {
			for (const cipher of measuredCiphers) {
				devices.push({cipher, device: await makeOriginalDevice(join(directory, cipher), {cipher})});
			}

			for (let round = 0; round < roundCount; round++) {
				for (const {cipher, device} of devices) {
					for (const depth of depths) {
						report(`round ${round + 1} of ${roundCount}, ${cipher}, depth ${depth}`, round / roundCount);
						passes.push({cipher, ...(await runOriginalLoad(device.connect(), depth))});
					}
				}
			}
		} finally {
			for (const {device} of devices) {
				await device.stop();
			}
		}
	});
}

async function measureLimits({options, results, compared}: Stand): Promise<void> {
	const ciphers = new Map<string, string>();
	for (const name of options.assemblies) {
		ciphers.set(name, await cipherOf(name));
	}

	const limits: {ciphers: readonly CipherLimit[]; medium?: MediumSpeed} = {ciphers: await cipherLimits(limitMs)};
	results.add({
		lines: () =>
			limits.medium
				? [
						...limitLines(limits.ciphers, limits.medium),
						...shareLines(compared, limits.ciphers, limits.medium, ciphers),
					]
				: [],
		data: () => limits,
	});
	await inFolder(directoryFor('memory', options), async directory => {
		limits.medium = mediumSpeed(directory, options.rangeByteLength, limitMs);
	});
}

async function measureRekeyings({
	options: {assemblies, rangeByteLength: byteLength, seconds, directory: chosen},
	results,
	report,
}: Stand): Promise<void> {
	const rekeyings: RekeyingResult[] = [];
	results.add({lines: () => rekeyings.flatMap(result => rekeyingLines(result)), data: () => rekeyings});
	for (const [i, assembly] of assemblies.entries()) {
		await inFolder(chosen ?? defaultDirectory('memory', byteLength + imageOverhead), async directory => {
			report(assembly, i / assemblies.length);
			rekeyings.push(
				await measureRekeying({
					target: new DeviceTarget(assembly, directory),
					byteLength,
					directory,
					seconds,
					report,
				}),
			);
		});
	}
}

interface PartKind {
	/** Seconds that it takes, roughly. */
	expect(options: Options): number;
	measure(stand: Stand): Promise<void>;
}

const kinds: Readonly<Record<Part, PartKind>> = {
	process: {expect: ({roundCount}) => 4 + roundCount * 3, measure: measureInProcess},
	nbd: {
		expect: ({assemblies, cells, roundCount, seconds}) =>
			(assemblies.length + peerCount) * (5 + roundCount * cells.length * (seconds + 0.3)),
		measure: measureNbd,
	},
	limits: {expect: () => 12, measure: measureLimits},
	cold: {
		expect: ({assemblies, coldCells, roundCount, seconds}) =>
			(assemblies.length + peerCount) * (5 + roundCount * coldCells.length * (seconds + 1)),
		measure: measureCold,
	},
	rekeying: {expect: ({assemblies, seconds}) => assemblies.length * (30 + 8 * seconds), measure: measureRekeyings},
	amplification: {
		expect: () => 15,
		async measure(stand) {
			const table = amplificationTable();
			addTables(stand, [table]);
			await inFolder(directoryFor('memory', stand.options), async directory =>
				measureAmplification(directory, table, stand.report),
			);
		},
	},
	latency: {
		expect: ({seconds}) => latencySeconds(seconds),
		async measure(stand) {
			const table = latencyTable();
			addTables(stand, [table]);
			await inFolder(directoryFor('memory', stand.options), async directory =>
				measureLatency({directory, seconds: stand.options.seconds, report: stand.report}, table),
			);
		},
	},
	cores: {
		expect: ({seconds}) => coresSeconds(seconds),
		async measure(stand) {
			const tables = coresTables();
			addTables(stand, [tables.byCpus, tables.byClients]);
			await inFolder(directoryFor('memory', stand.options), async directory =>
				measureCores({directory, seconds: stand.options.seconds, report: stand.report}, tables),
			);
		},
	},
	scale: {
		expect: ({sizes, seconds}) => scaleSeconds(sizes, seconds),
		async measure(stand) {
			const tables = scaleTables();
			const {
				options: {seconds, sizes},
				report,
			} = stand;
			addTables(stand, [tables.costs, tables.speeds]);
			await inFolder(directoryFor('disk', stand.options), async directory =>
				measureScale({directory, seconds, sizes, report}, tables),
			);
		},
	},
	mkfs: {
		expect: ({roundCount}) => mkfsSeconds(roundCount),
		async measure(stand) {
			const table = mkfsTable();
			addTables(stand, [table]);
			await inFolder(directoryFor('memory', stand.options, 1), async directory =>
				measureMkfs({directory, roundCount: stand.options.roundCount, report: stand.report}, table),
			);
		},
	},
	assemblies: {
		expect: assembliesSeconds,
		async measure(stand) {
			const tables = assembliesTables();
			addTables(stand, [tables.speeds, tables.leftOut]);
			await measureAssemblies(
				{...stand.options, place: directoryFor('memory', stand.options, 1), report: stand.report},
				tables,
			);
		},
	},
};

/** The order in which parts are measured: shares of the limits need what nbd found. */
const order: readonly Part[] = [
	'process',
	'nbd',
	'limits',
	...partNames.filter(part => !['process', 'nbd', 'limits'].includes(part)),
];

async function bench(options: Options, calibration: Calibration): Promise<void> {
	const {roundCount, seconds, rangeByteLength} = options;
	const printTables = options.jsonFile === '-' ? () => undefined : print;
	const chosen = order.filter(part => options.parts.has(part));
	const results = new PartResults({
		print: printTables,
		jsonFile: options.jsonFile,
		head: () => ({
			machine: machineLines().join('\n'),
			options: {roundCount, seconds, rangeByteLength},
			calibrationMs: calibration.timesMs,
		}),
	});
	const end = () => {
		results.show();
		printTables(noiseLines(calibration));
		results.writeJson();
	};

	cleanUpAtExit(() => {
		wasInterrupted = true;
		end();
		complain('interrupted: this is what was measured until now');
	});
	printTables([
		...machineLines(),
		`${roundCount} rounds of ${seconds} s, ${rangeByteLength / 2 ** 20} MiB filled before.`,
		'',
	]);
	const progress = new Progress({
		plan: chosen.map(part => [part, kinds[part].expect(options)]),
		write: text => process.stderr.write(text),
		now: () => performance.now(),
	});
	const stand: Stand = {options, calibration, results, report: progress.report, compared: []};
	await calibration.warmUp();
	await calibration.measure();
	printTables(wakeUpLines(await measureWakeUps()));
	for (const part of chosen) {
		results.begin(part);
		progress.begin(part);
		try {
			await kinds[part].measure(stand);
		} catch (error) {
			results.show();
			throw error;
		}

		progress.end();
		results.show();
	}

	await calibration.measure();
	end();
}

async function profile(options: Options, profileDirectory: string): Promise<void> {
	const profiles: CellProfile[] = [];
	cleanUpAtExit(() => {
		wasInterrupted = true;
		print(profileLines(profiles));
	});
	for (const assembly of options.assemblies) {
		await inFolder(directoryFor('memory', options), async directory => {
			profiles.push(
				...(await profileCells({
					...options,
					target: new DeviceTarget(assembly, directory),
					directory,
					profileDirectory,
					report: complain,
				})),
			);
		});
	}

	print(profileLines(profiles));
}

async function main(words: readonly string[]): Promise<void> {
	const options = parseOptions(words);
	if (options.help) {
		print([help]);
	} else if (options.profileDirectory !== undefined) {
		await profile(options, options.profileDirectory);
	} else {
		const calibration = new Calibration();
		try {
			await bench(options, calibration);
		} finally {
			await calibration.close();
		}
	}
}

try {
	await main(process.argv.slice(2));
} catch (error) {
	if (!wasInterrupted) {
		complain(error instanceof Error ? error.message : String(error));
		process.exitCode = error instanceof OptionError ? usageExitCode : 1;
	}
}
