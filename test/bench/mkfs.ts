/**
 * mkfs.ext4 on a fresh device: some hundred requests of all kinds, each waiting for the one before, on a server that
 * has just been started. Both ways on which a disk gets to a kernel without a module of its own are measured, each
 * beside the peer that a user would take: NBD with nbdfuse, and a file of the server's own FUSE mount; both under a
 * loop device.
 */
import {rmSync, statSync, truncateSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {DeviceTarget} from './device-target.js';
import {editedAssembly} from './edited-assembly.js';
import {GrowingTable} from './growing-table.js';
import {withLoopDevice} from './loop-device.js';
import {cpuTimeUs} from './process-use.js';
import {missingPrograms, runProgram} from './program.js';
import type {ReportProgress} from './progress.js';
import {ServerProcess} from './server-process.js';
import {ratios, summarize, type Summary} from './statistics.js';

const gibibyte = 2 ** 30;
const sizeGiB = 64;
const goal = 2;

/** Between the server's start and the client: what a server does once it is ready counts for nobody. */
const settleMs = 1000;

const pollMs = 10;
const mountMsMax = 10_000;

/** A fresh device as a file, and who serves it. */
interface FreshDisk {
	/** What the kernel attaches. */
	readonly file: string;
	/** The serving process, without nbdfuse. */
	readonly pid: number;
	end(): Promise<void>;
}

interface Server {
	readonly name: string;
	start(directory: string): Promise<FreshDisk>;
}

interface Way {
	readonly title: string;
	readonly programs: readonly string[];
	readonly device: Server;
	readonly peer: Server;
}

/** Waits until what is mounted over an empty file shows the device. */
async function isMounted(file: string): Promise<void> {
	for (let waitedMs = 0; statSync(file).size < sizeGiB * gibibyte; waitedMs += pollMs) {
		if (waitedMs > mountMsMax) {
			throw new Error(`nothing was mounted at ${file} within ${mountMsMax / 1000} s`);
		}

		await sleep(pollMs);
	}
}

async function undone(steps: ReadonlyArray<() => Promise<unknown>>): Promise<void> {
	for (const step of [...steps].reverse()) {
		await step();
	}
}

/** A server of NBD with nbdfuse in front of it. */
async function overNbd(uri: string, directory: string): Promise<{file: string; end(): Promise<void>}> {
	const file = join(directory, 'nbdfuse');
	writeFileSync(file, '');
	const fuse = new ServerProcess('nbdfuse', [file, uri], directory);
	await isMounted(file);
	return {file, end: async () => fuse.stop()};
}

async function startDevice(directory: string): Promise<DeviceTarget> {
	const target = new DeviceTarget(
		editedAssembly('deploy.xml', directory, {name: 'mkfs', dimensions: `vbd_size="${sizeGiB}G" ft_size="4G"`}),
		directory,
	);
	rmSync(target.stateDirectory, {recursive: true, force: true});
	await target.start();
	return target;
}

function freshImage(directory: string): string {
	const image = join(directory, 'raw.img');
	rmSync(image, {force: true});
	writeFileSync(image, '');
	truncateSync(image, sizeGiB * gibibyte);
	return image;
}

const ways: readonly Way[] = [
	{
		title: 'NBD, nbdfuse, loop device',
		programs: ['nbdfuse', 'qemu-nbd'],
		device: {
			name: 'deploy.xml',
			async start(directory) {
				const target = await startDevice(directory);
				const {file, end} = await overNbd(target.uri, directory);
				return {file, pid: target.pid, end: async () => undone([async () => target.stop(), end])};
			},
		},
		peer: {
			name: 'qemu-nbd, raw',
			async start(directory) {
				const socket = join(directory, 'peer.sock');
				const server = new ServerProcess(
					'qemu-nbd',
					['--persistent', '--format=raw', '--discard=unmap', `--socket=${socket}`, freshImage(directory)],
					directory,
				);
				await server.listens(socket);
				const {file, end} = await overNbd(`nbd+unix:///?socket=${socket}`, directory);
				return {file, pid: server.pid, end: async () => undone([async () => server.stop(), end])};
			},
		},
	},
	{
		title: 'file of the FUSE mount, loop device',
		programs: ['qemu-storage-daemon'],
		device: {
			name: 'deploy.xml',
			async start(directory) {
				const target = await startDevice(directory);
				return {
					file: join(target.stateDirectory, 'cbe/current/data'),
					pid: target.pid,
					end: async () => target.stop(),
				};
			},
		},
		peer: {
			name: 'qemu-storage-daemon, raw',
			async start(directory) {
				const file = join(directory, 'export');
				writeFileSync(file, '');
				const server = new ServerProcess(
					'qemu-storage-daemon',
					[
						'--blockdev',
						`driver=file,node-name=file,filename=${freshImage(directory)},discard=unmap`,
						'--blockdev',
						'driver=raw,node-name=disk,file=file,discard=unmap',
						'--export',
						`type=fuse,id=export,node-name=disk,mountpoint=${file},writable=on`,
					],
					directory,
				);
				await isMounted(file);
				return {file, pid: server.pid, end: async () => server.stop()};
			},
		},
	},
];

interface Sample {
	readonly ms: number;
	/** CPU time of the server. */
	readonly cpuMs: number;
}

async function measureOnce(server: Server, directory: string): Promise<Sample> {
	const disk = await server.start(directory);
	try {
		await sleep(settleMs);
		return await withLoopDevice(disk.file, directory, async device => {
			const cpuUs = cpuTimeUs(disk.pid);
			const startedMs = performance.now();
			await runProgram('mkfs.ext4', ['-q', '-F', device], directory);
			return {ms: performance.now() - startedMs, cpuMs: (cpuTimeUs(disk.pid) - cpuUs) / 1000};
		});
	} finally {
		await disk.end();
	}
}

export interface MkfsArguments {
	readonly directory: string;
	readonly roundCount: number;
	readonly report: ReportProgress;
}

const programs = ['losetup', 'mkfs.ext4'];

/** Seconds that it takes, roughly. */
export function mkfsSeconds(roundCount: number): number {
	return roundCount * ways.length * 7;
}

export function mkfsTable(): GrowingTable {
	return new GrowingTable({
		title: `mkfs.ext4 on a fresh device of ${sizeGiB} GiB`,
		header: ['way', 'deploy.xml, ms', 'peer', 'peer, ms', 'ratio', 'goal', 'CPU ms of the server (device / peer)'],
		note: 'Medians, with the smallest and the largest in parentheses. Servers are started afresh for each round, in turns; images in memory.',
	});
}

function text({median, min, max}: Summary, digits: number): string {
	return `${median.toFixed(digits)} (${min.toFixed(digits)}–${max.toFixed(digits)})`;
}

/** Needs root, FUSE and loop devices. */
export async function measureMkfs({directory, roundCount, report}: MkfsArguments, into: GrowingTable): Promise<void> {
	for (const [i, way] of ways.entries()) {
		const missing = missingPrograms([...programs, ...way.programs]);
		if (missing.length > 0) {
			report(`${way.title}: ${missing.join(', ')} missing`);
			continue;
		}

		const samples = new Map<Server, Sample[]>([
			[way.device, []],
			[way.peer, []],
		]);
		for (let round = 0; round < roundCount; round++) {
			const turn = round % 2 === 0 ? [way.device, way.peer] : [way.peer, way.device];
			for (const server of turn) {
				samples.get(server)!.push(await measureOnce(server, directory));
			}

			const last = (server: Server) => `${server.name} ${samples.get(server)!.at(-1)!.ms.toFixed(0)} ms`;
			report(
				`${way.title}, round ${round + 1} of ${roundCount}: ${last(way.device)}, ${last(way.peer)}`,
				(i + (round + 1) / roundCount) / ways.length,
			);
		}

		const [ours, theirs] = [samples.get(way.device)!, samples.get(way.peer)!];
		const ms = (list: readonly Sample[]) => list.map(sample => sample.ms);
		const cpu = (list: readonly Sample[]) => summarize(list.map(sample => sample.cpuMs)).median.toFixed(0);
		into.add(
			way.title,
			text(summarize(ms(ours)), 0),
			way.peer.name,
			text(summarize(ms(theirs)), 0),
			text(ratios(ms(ours), ms(theirs))!, 2),
			`≤ ${goal}`,
			`${cpu(ours)} / ${cpu(theirs)}`,
		);
	}
}
