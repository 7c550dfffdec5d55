/** Storage that stands still for a while, under the real program: requests wait, and nothing is restarted or lost. */
import fs from 'node:fs';
import {join} from 'node:path';
import {setTimeout as sleep} from 'node:timers/promises';
import {runTool, testWith} from '../support/external-tools.js';
import {projectFolder, startRuntime, withFolder} from '../support/runtime-process.js';

const needed = ['qemu-io', 'mkfs.ext4', 'mount', 'umount', 'fsfreeze', 'root', '/dev/loop-control'];

/** Longer than three beats, after which a component that only hangs is ended. */
const beatMs = 300;
const stallMs = 4000;

async function withFileSystem(use: (mountPoint: string) => Promise<void>): Promise<void> {
	await withFolder(async folder => {
		const image = join(folder, 'disk');
		const mountPoint = join(folder, 'mnt');
		fs.mkdirSync(mountPoint);
		fs.writeFileSync(image, '');
		fs.truncateSync(image, 2 ** 30);
		await runTool('mkfs.ext4', ['-q', image]);
		await runTool('mount', ['-o', 'loop', image, mountPoint]);
		try {
			await use(mountPoint);
		} finally {
			await runTool('umount', [mountPoint]);
		}
	});
}

for (const assembly of ['deploy.xml', 'config/assemblies/low_latency.xml']) {
	testWith(needed, `${assembly}: a disk that stands still makes requests wait, not fail`, async t => {
		await withFileSystem(async mountPoint => {
			const state = join(mountPoint, 'state');
			const deployFile = join(mountPoint, 'deploy.xml');
			const text = fs.readFileSync(join(projectFolder, assembly), 'utf8');
			fs.writeFileSync(
				deployFile,
				text
					.replaceAll('rate_ms="2000"', `rate_ms="${beatMs}"`)
					.replaceAll(/vbd_leaves="\d+" vbd_max_level="\d"/g, 'vbd_leaves="65536" vbd_max_level="3"'),
			);
			const runtime = await startRuntime(deployFile, state);
			const uri = `nbd+unix:///?socket=${join(state, 'nbd.sock')}`;
			const io = async (...commands: string[]) =>
				runTool('qemu-io', ['-f', 'raw', '-t', 'none', ...commands.flatMap(command => ['-c', command]), uri]);
			try {
				await io('write -P 1 0 1M', 'flush');
				await runTool('fsfreeze', ['--freeze', mountPoint]);
				const written = io('write -P 2 512k 4M', 'flush', 'read -P 1 0 512k', 'read -P 2 512k 4M');
				try {
					await sleep(stallMs);
				} finally {
					await runTool('fsfreeze', ['--unfreeze', mountPoint]);
				}

				t.notRegex(await written, /error|failed/i);
				t.regex(runtime.output, /has been waiting for its storage for 900 ms/);
				t.notRegex(runtime.output, /died|restarting/);
				await runtime.printed('the storage answers again');
			} finally {
				await runtime.stop();
			}
		});
	});
}
