/**
 * Components swapped, moved, inserted, removed and resized under `fio --verify` over NBD: no error, no lost write. What
 * clients see of each edit is measured: how long requests waited, and the 99th percentile of latency in that second.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {readdirSync, readFileSync, renameSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout} from 'node:timers/promises';
import {requestControl, type EditOutcome, type RuntimeStatus} from '../../runtime/supervisor/control-client.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime} from '../support/runtime-process.js';

/** Between two edits, so that each has a second of its own with some quiet before it, also on a busy machine. */
const spacingMs = 3500;
/** fio goes on for so long after the last edit should have been applied. */
const reserveMs = 4000;

const folder = temporaryDirectory();
const stateDirectory = join(folder, 'state');
const deployFile = join(folder, 'deploy.xml');

/** Moments of requests in milliseconds since 1970, with their latency in milliseconds. */
function readLatencies(): Array<{atMs: number; latencyMs: number}> {
	const file = readdirSync(folder).find(name => name.includes('_clat.'))!;
	return readFileSync(join(folder, file), 'utf8')
		.trim()
		.split('\n')
		.map(line => {
			const [atMs, nanoseconds] = line.split(',').map(Number);
			return {atMs, latencyMs: nanoseconds / 1e6};
		});
}

function percentile99(latencies: ReturnType<typeof readLatencies>, fromMs: number, toMs: number): number {
	const sorted = latencies
		.filter(({atMs}) => atMs >= fromMs && atMs < toMs)
		.map(({latencyMs}) => latencyMs)
		.sort((a, b) => a - b);
	return sorted[Math.floor(sorted.length * 0.99)] ?? NaN;
}

function save(text: string): void {
	writeFileSync(`${deployFile}.new`, text);
	renameSync(`${deployFile}.new`, deployFile);
}

/** @throws Error where the words are not there */
function edited(text: string, before: string, after: string): string {
	if (!text.includes(before)) {
		throw new Error(`the deployment has no ${before}`);
	}

	return text.replace(before, after);
}

const trace = [
	'\t<start name="trace">',
	'\t\t<binary name="block_trace"/>',
	'\t\t<provides><service name="block"/></provides>',
	'\t\t<config every="0"/>',
	'\t\t<route><service name="block"><child name="block_file"/></service></route>',
	'\t</start>',
	'',
].join('\n');
const treeRoute =
	'<provides><service name="virtual_block_device"/></provides>\n\t\t<route>\n\t\t\t<service name="block"><child name="block_file"/>';

function withTrace(text: string): string {
	return edited(
		edited(text, treeRoute, treeRoute.replace('block_file', 'trace')),
		'\t<!-- The tree of the data. -->',
		`${trace}\n\t<!-- The tree of the data. -->`,
	);
}

const edits: ReadonlyArray<{name: string; edit: (text: string) => string; binary?: string}> = [
	{
		name: 'crypto_openssl to crypto_offload',
		edit: text => edited(text, 'crypto_openssl', 'crypto_offload'),
		binary: 'crypto_offload',
	},
	{
		name: 'crypto_offload to crypto_openssl',
		edit: text => edited(text, 'crypto_offload', 'crypto_openssl'),
		binary: 'crypto_openssl',
	},
	{
		name: 'block I/O to another CPU',
		edit: text => edited(text, '<config path="cbe.img"', '<affinity xpos="0"/>\n\t\t<config path="cbe.img"'),
	},
	{name: 'block_trace inserted', edit: withTrace},
	{
		name: 'block_trace removed',
		edit: text => edited(edited(text, `${trace}\n`, ''), treeRoute.replace('block_file', 'trace'), treeRoute),
	},
	{name: 'the cache made smaller', edit: text => edited(text, 'size="48M"', 'size="24M"')},
];

testWith(['fio'], 'components are swapped under fio --verify: no error, no lost write', async t => {
	t.timeout(240_000);
	const original = readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');
	save(
		original
			.replaceAll('vbd_leaves="262144"', 'vbd_leaves="16384"')
			.replaceAll('ft_leaves="262144"', 'ft_leaves="8192"'),
	);
	const runtime = await startRuntime(deployFile, stateDirectory);
	const fio = spawn(
		'fio',
		[
			'--name=swaps',
			'--ioengine=nbd',
			`--uri=nbd+unix:///?socket=${join(stateDirectory, 'nbd.sock')}`,
			'--rw=randwrite',
			'--bsrange=4k-32k',
			'--iodepth=16',
			'--size=32M',
			'--time_based',
			`--runtime=${(edits.length * spacingMs + reserveMs) / 1000}`,
			'--verify=crc32c',
			'--verify_state_save=0',
			'--verify_backlog=256',
			'--do_verify=1',
			'--randseed=7',
			'--fsync=32',
			'--write_lat_log=swaps',
			'--log_unix_epoch=1',
			'--output-format=normal',
		],
		{cwd: folder, stdio: ['ignore', 'pipe', 'pipe']},
	);
	let output = '';
	for (const stream of [fio.stdout, fio.stderr]) {
		stream.setEncoding('utf8').on('data', (text: string) => {
			output += text;
		});
	}

	const ended = once(fio, 'close') as Promise<[number | null]>;
	const firstMs = Date.now() + 2000;
	const outcomes: Array<EditOutcome & {name: string}> = [];
	for (const [index, {name, edit, binary}] of edits.entries()) {
		await setTimeout(Math.max(0, firstMs + index * spacingMs - Date.now()));
		if (binary === undefined) {
			save(edit(readFileSync(deployFile, 'utf8')));
		} else {
			const before = readFileSync(deployFile, 'utf8');
			const swapped = await runRuntime(['swap', 'crypto', binary, '--state', stateDirectory]);
			t.is(swapped.code, 0, swapped.output);
			t.is(readFileSync(deployFile, 'utf8'), edit(before));
		}

		await runtime.printed(`[runtime] deployment generation ${index + 2} runs`);
		const {deployment} = (await requestControl(stateDirectory, {op: 'status'})) as RuntimeStatus;
		t.is(deployment?.lastEdit?.result, 'applied');
		outcomes.push({name, ...deployment!.lastEdit!});
	}

	const [code] = await ended;
	t.is(code, 0, output);
	t.regex(output, /err= 0/);
	t.notRegex(output, /verify: bad/);
	const latencies = readLatencies();
	for (const {name, time, pauseMs} of outcomes) {
		const startMs = Date.parse(time);
		t.true(
			latencies.some(({atMs}) => atMs > startMs + 1000),
			`fio ended before "${name}" was applied`,
		);
		const quiet = percentile99(latencies, startMs - 1000, startMs);
		const during = percentile99(latencies, startMs, startMs + 1000);
		t.log(
			`${name}: requests waited ${pauseMs} ms; p99 in that second ${during.toFixed(1)} ms, in the second before ${quiet.toFixed(1)} ms`,
		);
	}

	t.notRegex(runtime.output, /died|went back|could not be applied|a request failed/);
	t.is(await runtime.stop(), 0, runtime.output);
	const check = await runRuntime(['run', 'cbe_check', deployFile, '--state', stateDirectory]);
	t.is(check.code, 0, check.output);
});
