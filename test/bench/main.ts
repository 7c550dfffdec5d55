/** `npm run bench`: the device beside its peers and its limits, as a Markdown table. */
import {writeFileSync} from 'node:fs';
import {measureAmplification} from './amplification.js';
import {Calibration} from './calibration.js';
import type {Cell} from './cell.js';
import {compare, type Comparison} from './comparison.js';
import {measureCores} from './cores.js';
import {DeviceTarget} from './device-target.js';
import {measureLatency} from './latency.js';
import {cipherLimits, mediumSpeed, type CipherLimit, type MediumSpeed} from './limit.js';
import {OptionError, help, parseOptions, type Options} from './options.js';
import {depths, makeOriginalDevice, runOriginalLoad, type OriginalLoadResult} from './original-load.js';
import {missingPrograms} from './program.js';
import {profileCells, type CellProfile} from './profiling.js';
import {qemuTargets} from './qemu-target.js';
import {measureRekeying, type RekeyingResult} from './rekeying.js';
import {comparisonLines, limitLines, machineLines, memoryLines, noiseLines, originalLoadLines, profileLines, rekeyingLines, shareLines} from './report.js';
import {measureScale} from './scale.js';
import {cleanUpAtExit, defaultDirectory, isMemory, makeFolder, removeFolder} from './workspace.js';

/** Room for inner blocks and spare blocks beside the range. */
const imageOverhead = 256 * 2 ** 20;
/** Time for each measurement of a limit. */
const limitMs = 1000;
const usageExitCode = 2;

function print(lines: readonly string[]): void {
	process.stdout.write(`${lines.join('\n')}\n`);
}

function report(progress: string): void {
	process.stderr.write(`[bench] ${progress}\n`);
}

function directoryFor(storage: Cell['storage'], options: Options): string {
	const targetCount = options.assemblies.length + 2;
	const chosen = storage === 'memory' ? options.directory : options.diskDirectory;
	return chosen ?? defaultDirectory(storage, targetCount * (options.rangeByteLength + imageOverhead));
}

async function compareOn(storage: Cell['storage'], options: Options, calibration: Calibration): Promise<Comparison | undefined> {
	const cells = options.cells.filter(cell => cell.storage === storage);
	if (cells.length === 0) {
		return undefined;
	}

	const place = directoryFor(storage, options);
	const directory = makeFolder(place);
	const {targets: peers, missing} = qemuTargets(directory);
	const targets = [...options.assemblies.map(name => new DeviceTarget(name, directory)), ...peers];
	print([
		`Images for ${cells.map(({name}) => name).join(', ')}: ${place} (${isMemory(place) ? 'memory' : 'disk'}).`,
		...missing.length > 0 ? [`No peers: ${missing.join(', ')} missing.`] : ['Peers: qemu-nbd with its default cache=writeback and aio=threads.'],
	]);
	try {
		return await compare({...options, targets, cells, directory, calibration, report});
	} finally {
		removeFolder(directory);
	}
}

async function compareNbd(options: Options, calibration: Calibration): Promise<Comparison[]> {
	const missing = missingPrograms(['fio']);
	if (missing.length > 0) {
		print(['fio is missing, so nothing is measured over NBD.']);
		return [];
	}

	const memory = await compareOn('memory', options, calibration);
	const disk = await compareOn('disk', options, calibration);
	return [memory, disk].filter(comparison => comparison !== undefined);
}

async function measureInProcess({roundCount}: Options): Promise<OriginalLoadResult[]> {
	const directory = makeFolder(defaultDirectory('memory', imageOverhead));
	report('in process');
	const device = await makeOriginalDevice(directory);
	const client = device.connect();
	const results: OriginalLoadResult[] = [];
	try {
		for (let round = 0; round < roundCount; round++) {
			for (const depth of depths) {
				results.push(await runOriginalLoad(client, depth));
			}
		}
	} finally {
		await device.stop();
		removeFolder(directory);
	}

	return results;
}

interface Limits {
	readonly ciphers: readonly CipherLimit[];
	readonly medium: MediumSpeed;
}

async function measureLimits(options: Options): Promise<Limits> {
	report('limits');
	const directory = makeFolder(directoryFor('memory', options));
	try {
		return {ciphers: await cipherLimits(limitMs), medium: mediumSpeed(directory, options.rangeByteLength, limitMs)};
	} finally {
		removeFolder(directory);
	}
}

async function profile(options: Options, profileDirectory: string): Promise<void> {
	const profiles: CellProfile[] = [];
	for (const assembly of options.assemblies) {
		const directory = makeFolder(directoryFor('memory', options));
		profiles.push(...await profileCells({...options, target: new DeviceTarget(assembly, directory), directory, profileDirectory, report}));
		removeFolder(directory);
	}

	print(profileLines(profiles));
}

async function measureRekeyings({assemblies, rangeByteLength: byteLength, seconds, directory: chosen}: Options): Promise<RekeyingResult[]> {
	const results: RekeyingResult[] = [];
	for (const assembly of assemblies) {
		const directory = makeFolder(chosen ?? defaultDirectory('memory', byteLength + imageOverhead));
		try {
			results.push(await measureRekeying({target: new DeviceTarget(assembly, directory), byteLength, directory, seconds, report}));
		} finally {
			removeFolder(directory);
		}
	}

	return results;
}

/** The parts that print a table of their own, each in a folder that is gone afterwards. */
async function measureMore(options: Options): Promise<string[]> {
	const {parts, seconds, sizes} = options;
	const lines: string[] = [];
	const inFolder = async (place: string, measure: (directory: string) => Promise<string[]>) => {
		const directory = makeFolder(place);
		try {
			lines.push(...await measure(directory));
		} finally {
			removeFolder(directory);
		}
	};

	const memory = directoryFor('memory', options);
	if (parts.has('amplification')) {
		await inFolder(memory, async directory => measureAmplification(directory, report));
	}

	if (parts.has('latency')) {
		await inFolder(memory, async directory => measureLatency({directory, seconds, report}));
	}

	if (parts.has('cores')) {
		await inFolder(memory, async directory => measureCores({directory, seconds, report}));
	}

	if (parts.has('scale')) {
		await inFolder(directoryFor('disk', options), async directory => measureScale({directory, seconds, sizes, report}));
	}

	return lines;
}

async function bench(options: Options, calibration: Calibration): Promise<void> {
	const {parts, roundCount, seconds, rangeByteLength} = options;
	print([...machineLines(), `${roundCount} rounds of ${seconds} s, ${rangeByteLength / 2 ** 20} MiB filled before.`]);
	const inProcess = parts.has('process') ? await measureInProcess(options) : [];
	const limits = parts.has('limits') ? await measureLimits(options) : undefined;
	const comparisons = parts.has('nbd') ? await compareNbd(options, calibration) : [];
	const rekeyings = parts.has('rekeying') ? await measureRekeyings(options) : [];
	const more = await measureMore(options);
	await calibration.measure();
	const results = comparisons.flatMap(comparison => comparison.results);
	print([
		'', ...comparisonLines(results),
		...comparisons.flatMap(({memory, results: [{cell: {storage}}]}) => memoryLines(memory, storage)),
		...inProcess.length > 0 ? originalLoadLines(inProcess) : [],
		...limits ? [...limitLines(limits.ciphers, limits.medium), ...shareLines(results, limits.ciphers, limits.medium)] : [],
		...rekeyings.flatMap(result => rekeyingLines(result)),
		...more,
		...noiseLines(calibration),
	]);
	if (options.jsonFile !== undefined) {
		const document = {options: {roundCount, seconds, rangeByteLength}, comparisons, inProcess, limits, rekeyings, calibrationMs: calibration.timesMs};
		writeFileSync(options.jsonFile, `${JSON.stringify(document, undefined, '\t')}\n`);
	}
}

async function main(words: readonly string[]): Promise<void> {
	const options = parseOptions(words);
	if (options.help) {
		print([help]);
		return;
	}

	cleanUpAtExit();
	if (options.profileDirectory !== undefined) {
		await profile(options, options.profileDirectory);
		return;
	}

	const calibration = new Calibration();
	try {
		await calibration.warmUp();
		await calibration.measure();
		await bench(options, calibration);
	} finally {
		await calibration.close();
	}
}

try {
	await main(process.argv.slice(2));
} catch (error) {
	process.stderr.write(`[bench] ${error instanceof Error ? error.message : String(error)}\n`);
	process.exitCode = error instanceof OptionError ? usageExitCode : 1;
}
