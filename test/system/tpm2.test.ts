/** The real program with its key in a TPM in software: config/assemblies/tpm2.xml, with a small device. */
import {readFileSync, writeFileSync} from 'node:fs';
import {join} from 'node:path';
import {requestControl} from '../../runtime/supervisor/control-client.js';
import {temporaryDirectory} from '../support/component-stand.js';
import {testWith} from '../support/external-tools.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, RuntimeProcess, runRuntime, startRuntime} from '../support/runtime-process.js';
import {SoftwareTpm} from '../support/swtpm.js';

const passphrase = 'correct horse battery staple';
const blockSize = 4096;

/** The shipped assembly, on the emulator and with a device of 4 MiB. */
function deployFileFor(tpm: SoftwareTpm, folder: string): string {
	const shipped = readFileSync(join(projectFolder, 'config/assemblies/tpm2.xml'), 'utf8');
	const small = shipped
		.replace('tpm="/dev/tpmrm0"', `tpm="${tpm.socketPath}"`)
		.replaceAll('vbd_leaves="262144" vbd_max_level="4"', 'vbd_leaves="1024" vbd_max_level="2"')
		.replaceAll('ft_leaves="262144" ft_max_level="3"', 'ft_leaves="2048" ft_max_level="2"');
	const file = join(folder, 'deploy.xml');
	writeFileSync(file, small);
	return file;
}

async function waitForRekeying(stateDirectory: string): Promise<void> {
	for (;;) {
		const reply = await requestControl(stateDirectory, {
			op: 'call',
			service: 'device_control',
			operation: 'operations',
			request: {},
		});
		if (!JSON.stringify(reply).includes('"running"')) {
			return;
		}

		await new Promise(resolve => {
			setTimeout(resolve, 50);
		});
	}
}

async function writeBlock(stateDirectory: string, block: number, value: number): Promise<void> {
	const peer = await NbdPeer.connect(join(stateDirectory, 'nbd.sock'));
	await peer.attach();
	await peer.write(block * blockSize, Buffer.alloc(blockSize, value));
	peer.request({command: 3});
	const {error} = await peer.simpleReply();
	peer.socket.destroy();
	if (error !== 0) {
		throw new Error(`the flush failed with ${error}`);
	}
}

async function readBlock(stateDirectory: string, block: number): Promise<number> {
	const peer = await NbdPeer.connect(join(stateDirectory, 'nbd.sock'));
	await peer.attach();
	const content = await peer.read(block * blockSize, blockSize);
	peer.socket.destroy();
	return content.every(byte => byte === content[0]) ? content[0] : -1;
}

testWith(
	['swtpm'],
	'define, write, kill, rekey, stop, check; then a TPM put back, another TPM and the recovery key',
	async t => {
		t.timeout(240_000);
		const tpm = await SoftwareTpm.start();
		t.teardown(async () => tpm.stop());
		const folder = temporaryDirectory();
		const deployFile = deployFileFor(tpm, folder);
		const stateDirectory = join(folder, 'state');
		const options = {variables: {CBE_PASSPHRASE: passphrase}};

		// Killed in its first window, after each of several flushes.
		for (let value = 1; value <= 3; value++) {
			const runtime = await startRuntime(deployFile, stateDirectory, options);
			t.is(await readBlock(stateDirectory, 5), value - 1);
			await writeBlock(stateDirectory, 5, value);
			await runtime.stop('SIGKILL');
		}

		const recovery = readFileSync(join(stateDirectory, 'recovery_key.txt'), 'latin1').trim();
		const rekeying = await startRuntime(deployFile, stateDirectory, options);
		t.is(await readBlock(stateDirectory, 5), 3);
		await requestControl(stateDirectory, {op: 'call', service: 'device_control', operation: 'rekey', request: {}});
		await waitForRekeying(stateDirectory);
		await writeBlock(stateDirectory, 6, 77);
		const status = await runRuntime(['status', '--json', '--state', stateDirectory]);
		t.regex(status.output, /"tpm_writes"/);
		t.is(await rekeying.stop(), 0);
		t.false(rekeying.output.includes(recovery.slice(0, 13)) || rekeying.output.includes(passphrase));
		await tpm.saveState('old');

		const check = await runRuntime(['run', 'cbe_check', deployFile, '--state', stateDirectory], options);
		t.is(check.code, 0, check.output);
		for (const value of [1, 2, 3]) {
			const runtime = await startRuntime(deployFile, stateDirectory, options);
			await writeBlock(stateDirectory, 7, value);
			t.is(await runtime.stop(), 0);
		}

		await tpm.saveState('new');
		await tpm.restoreState('old');
		const rolledBack = await runRuntime(['start', deployFile, '--state', stateDirectory], options);
		t.is(rolledBack.code, 1, rolledBack.output);
		t.regex(rolledBack.output, /rolled back: the TPM's record is older than the one in the file/);

		await tpm.restoreState('new');
		const wrong = await runRuntime(['start', deployFile, '--state', stateDirectory], {
			variables: {CBE_PASSPHRASE: 'guess-of-mine'},
		});
		t.is(wrong.code, 1, wrong.output);
		t.regex(wrong.output, /does not open .*sealed_key/);
		t.false(wrong.output.includes('guess-of-mine'));

		// Another TPM: the device starts locked, and is opened with the recovery key.
		await tpm.replace();
		const locked = await startRuntime(deployFile, stateDirectory, options);
		t.regex(locked.output, /sealed by another TPM/);
		await locked.stop();
		const recovered = new RuntimeProcess(['start', deployFile, '--state', stateDirectory], {
			variables: {...options.variables, CBE_RECOVERY_KEY: recovery},
		});
		await recovered.printed('[runtime] ready\n');
		t.deepEqual(
			[
				await readBlock(stateDirectory, 5),
				await readBlock(stateDirectory, 6),
				await readBlock(stateDirectory, 7),
			],
			[3, 77, 3],
		);
		t.regex(recovered.output, /the key has been sealed anew/);
		t.is(await recovered.stop(), 0);
		const usual = await startRuntime(deployFile, stateDirectory, options);
		t.is(await readBlock(stateDirectory, 7), 3);
		t.is(await usual.stop(), 0);
	},
);
