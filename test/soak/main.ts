/**
 * Runs a deployment for as long as it is told under mixed load with administration, and tells the memory of each
 * component: `node dist/test/soak/main.js --seconds 7200`. Exits with 1 where something died, or where a component
 * still grows at the end.
 */
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {Command} from 'commander';
import {requestControl, type RuntimeStatus} from '../../runtime/supervisor/control-client.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../support/runtime-process.js';
import {SeededRandom} from '../support/seeded-random.js';
import {growths, type Sample} from './growth.js';

const mebibyte = 2 ** 20;
const blockSize = 4096;
/** The part of the device that is written; the rest stays as it was created. */
const usedBlockCount = 16_384;
const flush = 3;
/** The administrator's rest, in those of a client. */
const administratorRests = 100;

interface Values {
	readonly seconds: string;
	readonly deploy: string;
	readonly sampleSeconds: string;
	readonly restMs: string;
}

const values = new Command('soak')
	.option('--seconds <count>', 'how long', '600')
	.option('--deploy <file>', 'the deployment file', join(projectFolder, 'deploy.xml'))
	.option('--sample-seconds <count>', 'how often memory is looked at', '15')
	.option(
		'--rest-ms <count>',
		'how long each client rests between two requests, and a hundred times as long the administrator between two commands',
		'0',
	)
	.parse()
	.opts<Values>();
const [seconds, sampleSeconds, restMs] = [Number(values.seconds), Number(values.sampleSeconds), Number(values.restMs)];

async function rest(times = 1): Promise<void> {
	if (restMs > 0) {
		await sleep(restMs * times);
	}
}

async function load(random: SeededRandom, socketPath: string, isOver: () => boolean): Promise<number> {
	let count = 0;
	while (!isOver()) {
		const peer = await NbdPeer.connect(socketPath);
		await peer.attach();
		for (let i = 0; i < 500 && !isOver(); i++) {
			const blocks = 1 + random.below(32);
			const offset = random.below(usedBlockCount - blocks) * blockSize;
			await peer.write(offset, Buffer.alloc(blocks * blockSize, random.below(256)));
			await peer.read(random.below(usedBlockCount - 16) * blockSize, 16 * blockSize);
			if (i % 20 === 19) {
				peer.request({command: flush});
				await peer.simpleReply();
			}

			count += 2;
			await rest();
		}

		peer.socket.destroy();
	}

	return count;
}

/** What people do with a device while it is used, one after the other. */
async function administrate(state: string, turn: number): Promise<void> {
	const work: ReadonlyArray<readonly string[]> = [
		['status'],
		['snapshot', 'create'],
		['snapshot', 'list'],
		['shell', '-c', 'ls -l current'],
		['status', '--json'],
		['rekey', '--detach'],
		['restart', 'crypto'],
		['diff'],
	];
	await runRuntime([...work[turn % work.length], '--state', state]);
	await rest(administratorRests);
	const {snapshots} = (await requestControl(state, {
		op: 'call',
		service: 'device_control',
		operation: 'list_snapshots',
		request: {},
	})) as {snapshots: Array<{generation: number}>};
	if (snapshots.length > 2) {
		await runRuntime(['snapshot', 'discard', String(snapshots[0].generation), '--state', state]);
	}
}

async function sample(state: string, began: number): Promise<Sample> {
	const {residentBytes, heapBytes, externalBytes, children} = (await requestControl(state, {
		op: 'status',
	})) as RuntimeStatus;
	const parts = Object.fromEntries(
		children.map(child => [child.name, child.heapBytes + child.externalBytes + child.arenaBytes]),
	);
	return {
		seconds: (performance.now() - began) / 1000,
		bytes: {process: residentBytes, runtime: heapBytes + externalBytes, ...parts},
	};
}

await withFolder(async state => {
	const runtime = await startRuntime(values.deploy, state);
	const began = performance.now();
	const isOver = () => performance.now() - began > seconds * 1000;
	const loads = [1, 2].map(async seed => load(new SeededRandom(seed), join(state, 'nbd.sock'), isOver));
	const samples: Sample[] = [];
	for (let turn = 0; !isOver(); turn++) {
		await administrate(state, turn);
		if (performance.now() - began > samples.length * sampleSeconds * 1000) {
			const now = await sample(state, began);
			samples.push(now);
			console.log(
				`${Math.round(now.seconds)} s  ${Object.entries(now.bytes)
					.map(([name, bytes]) => `${name} ${Math.round(bytes / mebibyte)}`)
					.join('  ')}  (MiB)`,
			);
		}
	}

	const counts = await Promise.all(loads);
	const exitCode = await runtime.stop();
	const deaths = runtime.output.split('\n').filter(line => /\bdied: |did not stop cleanly/.test(line));
	const growing = growths(samples);
	console.log(
		`${counts.reduce((sum, count) => sum + count, 0)} requests; exit code ${exitCode}, ${deaths.length} deaths`,
	);
	for (const {name, from, to} of growing) {
		console.log(
			`still grows: ${name}, from ${Math.round(from / mebibyte)} to ${Math.round(to / mebibyte)} MiB between the third and the last quarter`,
		);
	}

	process.exitCode = exitCode === 0 && deaths.length === 0 && growing.length === 0 ? 0 : 1;
});
