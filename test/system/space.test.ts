/** Where the room goes, on the real program: into the pool, to snapshots, and back to the host. */
import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import test from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {runTool, testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime, type RuntimeProcess} from '../support/runtime-process.js';

const MiB = 2 ** 20;
const folder = temporaryDirectory();
const deployFile = join(folder, 'deploy.xml');
const stateDirectory = join(folder, 'state');
const uri = `nbd+unix:///?socket=${join(stateDirectory, 'nbd.sock')}`;
let runtime: RuntimeProcess;

interface Usage {
	readonly usedBlockCount?: number;
	readonly sharedBlockCount?: number;
	readonly poolLeafCount: number;
	readonly poolAllocatableCount: number;
	readonly poolHeldCount: number;
	readonly snapshotCount: number;
}

/** The default assembly with a device of 64 MiB and a pool of 8 MiB. */
function writeDeployFile(): void {
	const text = fs.readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');
	fs.writeFileSync(
		deployFile,
		text
			.replaceAll(/vbd_leaves="\d+" vbd_max_level="\d"/g, 'vbd_leaves="16384" vbd_max_level="3"')
			.replaceAll(/ft_leaves="\d+" ft_max_level="\d"/g, 'ft_leaves="2048" ft_max_level="2"'),
	);
}

test.before(async () => {
	writeDeployFile();
	runtime = await startRuntime(deployFile, stateDirectory);
});

test.after.always(async () => {
	await runtime?.stop();
});

async function qemuIo(...commands: string[]): Promise<string> {
	return runTool('qemu-io', ['-f', 'raw', '-t', 'none', ...commands.flatMap(command => ['-c', command]), uri]);
}

async function usage(): Promise<Usage> {
	const {output} = await runRuntime(['status', '--json', '--state', stateDirectory]);
	return (JSON.parse(output) as {devices: [Usage]}).devices[0];
}

/** A count is not repeated at once, and room is given back beside the requests. */
async function eventually<T>(get: () => T | Promise<T>, isGood: (value: T) => boolean): Promise<T> {
	const endMs = Date.now() + 30_000;
	let value = await get();
	while (!isGood(value) && Date.now() < endMs) {
		await sleep(100);
		value = await get();
	}

	return value;
}

/** What stays stored: trees and flush log, and the quarter of the pool that keeps its room. */
const leastMiB = 6;

/** MiB of the image that the host stores. */
function storedMiB(): number {
	return (fs.statSync(join(stateDirectory, 'cbe.img')).blocks * 512) / MiB;
}

async function command(...words: string[]): Promise<string> {
	const {code, output} = await runRuntime([...words, '--state', stateDirectory]);
	if (code !== 0) {
		throw new Error(output);
	}

	return output;
}

testWith(['qemu-io'], 'what is trimmed goes back to the host', async t => {
	await qemuIo('write -P 1 0 48M', 'write -P 2 0 6M', 'flush');
	t.true(storedMiB() > 48);
	t.is((await eventually(usage, ({usedBlockCount}) => usedBlockCount === 12_288)).usedBlockCount, 12_288);
	await qemuIo('discard 0 48M', 'read -P 0 0 48M', 'flush');
	t.true((await eventually(storedMiB, stored => stored < leastMiB)) < leastMiB, `${storedMiB()} MiB are stored`);
	t.is((await eventually(usage, ({usedBlockCount}) => usedBlockCount === 0)).usedBlockCount, 0);
});

testWith(
	['qemu-io'],
	'snapshots that hold the pool: writes get ENOSPC, reads go on, discarding one brings it back',
	async t => {
		await qemuIo('write -P 3 0 20M', 'flush');
		const [, snapshot] = /snapshot (\d+)/.exec(await command('snapshot', 'create'))!;
		t.is((await eventually(usage, ({sharedBlockCount}) => sharedBlockCount === 5120)).sharedBlockCount, 5120);
		const failure = await t.throwsAsync(qemuIo('write -P 4 0 20M'));
		t.regex(failure.message, /No space left on device/);
		await runtime.printed(
			/warning: spare blocks run low: \d+ of 2048 are left for data, snapshots hold \d+; discard a snapshot, or add spare blocks/,
		);
		const {poolAllocatableCount, poolHeldCount, poolLeafCount} = await usage();
		// What is left is set aside for trims.
		t.true(poolHeldCount > 0.8 * poolLeafCount, `${poolHeldCount} of ${poolLeafCount} blocks are held`);
		t.true(poolAllocatableCount < 0.2 * poolLeafCount);
		t.notRegex(await qemuIo('read -P 3 19M 1M'), /failed/);
		await qemuIo('discard 0 20M', 'flush', 'read -P 0 0 20M');
		await command('snapshot', 'discard', snapshot);
		await qemuIo('write -P 5 0 20M', 'flush', 'read -P 5 0 20M');
		t.is((await usage()).snapshotCount, 0);
	},
);

testWith(['qemu-io'], 'a discarded snapshot gives its room back', async t => {
	await qemuIo('discard 0 20M', 'flush', 'write -P 6 0 6M', 'flush');
	const [, snapshot] = /snapshot (\d+)/.exec(await command('snapshot', 'create'))!;
	await qemuIo('discard 0 6M', 'flush');
	t.true(storedMiB() > 6, 'the snapshot holds its blocks');
	await command('snapshot', 'discard', snapshot);
	t.true((await eventually(storedMiB, stored => stored < leastMiB)) < leastMiB, `${storedMiB()} MiB are stored`);
	t.is(await runtime.stop(), 0);
	const check = await runRuntime(['run', 'cbe_check', deployFile, '--state', stateDirectory]);
	t.is(check.code, 0, check.output);
	runtime = await startRuntime(deployFile, stateDirectory);
});
