import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {deviceDeployment} from '../../test/support/device-deployment.js';
import {NbdPeer} from '../../test/support/nbd-peer.js';
import {RuntimeProcess, runRuntime, startRuntime, withFolder} from '../../test/support/runtime-process.js';

const deployment = deviceDeployment({
	create: 'vbd_leaves="256" vbd_max_level="2" vbd_degree="64" ft_leaves="512" ft_max_level="2" ft_degree="64" cipher="aes-256-xts"',
	tools: ['cbe_adopt'],
});

interface Disk {
	readonly deployFile: string;
	readonly state: string;
	readonly image: string;
}

async function withDisk(use: (disk: Disk) => Promise<void>): Promise<void> {
	await withFolder(async folder => {
		const deployFile = join(folder, 'deploy.xml');
		fs.writeFileSync(deployFile, deployment);
		const state = join(folder, 'state');
		await use({deployFile, state, image: join(state, 'cbe.img')});
	});
}

/** Runs the device while `use` speaks to it. */
async function onDevice({deployFile, state}: Disk, use: (peer: NbdPeer) => Promise<void>): Promise<void> {
	const runtime = await startRuntime(deployFile, state);
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	try {
		await peer.attach();
		await use(peer);
	} finally {
		peer.socket.destroy();
		await runtime.stop();
	}
}

async function adopt({deployFile, state}: Disk, variables: Readonly<Record<string, string>> = {}) {
	return runRuntime(['run', 'cbe_adopt', deployFile, '--state', state], {variables});
}

async function flushed(peer: NbdPeer, value: number): Promise<void> {
	await peer.write(0, Buffer.alloc(4096, value));
	peer.request({command: 3});
	await peer.simpleReply();
}

test('a restored copy is refused, adopted on demand alone, and holds the old content', async t => {
	await withDisk(async disk => {
		const backup = `${disk.image}.backup`;
		await onDevice(disk, async peer => flushed(peer, 1));
		t.regex((await adopt(disk)).output, /nothing to adopt/);
		fs.copyFileSync(disk.image, backup);
		await onDevice(disk, async peer => {
			for (let value = 2; value < 12; value++) {
				await flushed(peer, value);
			}
		});
		fs.copyFileSync(backup, disk.image);

		const refused = new RuntimeProcess(['start', disk.deployFile, '--state', disk.state]);
		t.not(await refused.ended, 0);
		t.regex(
			refused.output,
			/rolled back: the image holds generation \d+, the trust anchor expects generation \d+.*the id of this one is [0-9a-f]{32}\).*runtime run cbe_adopt/,
		);

		const trial = await adopt(disk);
		t.is(trial.code, 1);
		t.regex(trial.output, /expected by the trust anchor: generation \d+/);
		t.regex(
			trial.output,
			/found in the image: generation \d+ in slot \d, state normal, 0 snapshots, container [\da-f]{32}/,
		);
		t.regex(trial.output, /nothing was changed.*CBE_ADOPT=yes/);
		t.not(
			await new RuntimeProcess(['start', disk.deployFile, '--state', disk.state]).ended,
			0,
			'the trial changed nothing',
		);

		const adopted = await adopt(disk, {CBE_ADOPT: 'yes'});
		t.is(adopted.code, 0, adopted.output);
		t.regex(adopted.output, /adopted generation \d+ in place of generation \d+/);
		await onDevice(disk, async peer => {
			t.deepEqual(await peer.read(0, 4096), Buffer.alloc(4096, 1));
			await flushed(peer, 20);
		});
		await onDevice(disk, async peer => {
			t.deepEqual(await peer.read(0, 4096), Buffer.alloc(4096, 20));
		});

		fs.copyFileSync(backup, disk.image);
		const confirmed = `${disk.deployFile}.confirmed.xml`;
		fs.writeFileSync(
			confirmed,
			deployment.replace('<binary name="cbe_adopt"/>', '<binary name="cbe_adopt"/><config confirm="yes"/>'),
		);
		t.is((await adopt({...disk, deployFile: confirmed})).code, 0);
		await onDevice(disk, async peer => {
			t.deepEqual(await peer.read(0, 4096), Buffer.alloc(4096, 1));
		});
	});
});
