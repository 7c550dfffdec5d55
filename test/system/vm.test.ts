/** A Linux guest whose root lies on the device: snapshots, growth and rekeying underneath it, on the real program. */
import fs from 'node:fs';
import {join} from 'node:path';
import {type ExecutionContext} from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {runTool, testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime} from '../support/runtime-process.js';
import {machineRequirements, makeGuest, VirtualMachine} from '../support/virtual-machine.js';

const GiB = 2 ** 30;
/** What the device of 1 GiB has after an extension by 65536 blocks, of which the tree takes some. */
const extendedByteLength = 1_337_978_880;

/** A way in which a machine gets at the device. */
interface Attachment {
	/** The first words of qemu's `-drive`. */
	drive(stateDirectory: string): string;
	/** Tells a running machine that its disk has grown. */
	grow(machine: VirtualMachine, stateDirectory: string): Promise<void>;
}

function socketOf(stateDirectory: string): string {
	return join(stateDirectory, 'nbd.sock');
}

const overNbd: Attachment = {
	drive: stateDirectory => `file=nbd+unix:///?socket=${socketOf(stateDirectory)}`,
	// A connection keeps the size that the device had at its beginning, so a new one takes its place below the running
	// guest.
	async grow(machine, stateDirectory) {
		const options = {cache: {direct: true}, discard: 'unmap'};
		await machine.control('blockdev-add', {
			driver: 'nbd',
			'node-name': 'grown',
			server: {type: 'unix', path: socketOf(stateDirectory)},
			...options,
		});
		await machine.control('blockdev-reopen', {
			options: [{driver: 'raw', 'node-name': 'disk', file: 'grown', ...options}],
		});
		await machine.control('block_resize', {'node-name': 'disk', size: extendedByteLength});
	},
};

const overFuse: Attachment = {
	drive: stateDirectory => `file=${join(stateDirectory, 'cbe/current/data')}`,
	async grow(machine) {
		await machine.control('block_resize', {'node-name': 'disk', size: extendedByteLength});
	},
};

/** Names of all files below /work, and hashes of what is in them. */
const listing = 'cd /work && find . | sort && find . -type f -exec sha256sum {} + | sort -k 2';

/** The default assembly, with rekeyings slow enough that a guest can reboot meanwhile. */
function writeDeployFile(folder: string): string {
	const text = fs.readFileSync(join(projectFolder, 'deploy.xml'), 'utf8');
	const file = join(folder, 'deploy.xml');
	fs.writeFileSync(file, text.replace(/<config>(?=\s*<create)/, '<config rekeying_rate="36M">'));
	return file;
}

async function lifeOfGuest(t: ExecutionContext, {drive, grow}: Attachment): Promise<void> {
	const folder = temporaryDirectory();
	const deployFile = writeDeployFile(folder);
	const stateDirectory = join(folder, 'state');
	const guest = join(folder, 'guest');
	const image = join(folder, 'image');
	const uri = `nbd+unix:///?socket=${socketOf(stateDirectory)}`;
	const command = async (...words: string[]) => {
		const {code, output} = await runRuntime([...words, '--state', stateDirectory]);
		t.is(code, 0, output);
		return output;
	};
	const control = async (words: string) => command('shell', '-c', words);

	await makeGuest(guest);
	fs.writeFileSync(image, '');
	fs.truncateSync(image, GiB);
	await runTool('mkfs.ext4', ['-q', '-F', '-d', join(guest, 'root'), image]);
	const runtime = await startRuntime(deployFile, stateDirectory);
	let machine: VirtualMachine | undefined;
	try {
		await runTool('nbdcopy', ['--flush', '--destination-is-zero', image, uri]);
		machine = await VirtualMachine.boot(guest, drive(stateDirectory));

		// Files are written and hashed.
		await machine.run(
			'mkdir /work && cp -a /bin /work && for i in 1 2 3; do dd if=/dev/urandom of=/work/$i bs=64k count=64 || exit; done; sync',
		);
		let written = await machine.run(listing);
		t.regex(written, /^[\da-f]{64} {2}\.\/3$/m);

		// The guest reboots during a rekeying.
		await control('echo true > control/rekey');
		await machine.reboot();
		t.is(await machine.run(listing), written);
		await machine.run('dd if=/dev/urandom of=/work/meanwhile bs=64k count=16; sync');
		t.is(await control('cat control/rekey'), 'in-progress last-result:none\n');
		written = await machine.run(listing);
		await command('rekey', '--attach');
		t.is(await control('cat control/rekey'), 'idle last-result:success\n');
		await machine.run('echo 3 > /proc/sys/vm/drop_caches');
		t.is(await machine.run(listing), written);

		// The device is extended, and the guest's file system grows while it is mounted.
		await command('extend', 'vbd', '65536');
		await grow(machine, stateDirectory);
		t.is(Number(await machine.run('cat /sys/block/vda/size')) * 512, extendedByteLength);
		await machine.run('resize2fs /dev/vda');
		t.true(Number(await machine.run('df -k / | awk "END {print \\$2}"')) * 1024 > 1.15 * GiB);

		// A snapshot, and then "rm -rf" in the wrong directory.
		await machine.run('sync');
		await control('echo true > control/create_snapshot');
		const generation = (await control('ls snapshots')).trim();
		await machine.run('rm -rf /work && fstrim / && dd if=/dev/urandom of=/other bs=64k count=64 && sync');
		await t.throwsAsync(machine.run(listing), {message: /can't cd to \/work/});
		await machine.powerOff();

		// Everything is back.
		await control(`echo ${generation} > control/revert_snapshot`);
		machine = await VirtualMachine.boot(guest, drive(stateDirectory));
		t.is(await machine.run(listing), written);
		await t.throwsAsync(machine.run('ls /other'));
		await machine.powerOff();

		await runTool('nbdcopy', [uri, image]);
		t.is(fs.statSync(image).size, extendedByteLength);
		await runTool('e2fsck', ['-f', '-n', image]);
	} finally {
		await machine?.end();
		t.is(await runtime.stop(), 0);
	}

	const {code, output} = await runRuntime(['run', 'cbe_check', deployFile, '--state', stateDirectory]);
	t.is(code, 0, output);
	t.regex(output, /no fault found/);
}

const needed = [...machineRequirements, 'mkfs.ext4', 'e2fsck', 'nbdcopy'];

testWith(needed, 'the life of a guest over NBD', async t => {
	await lifeOfGuest(t, overNbd);
});

testWith([...needed, '/dev/fuse', 'root'], 'the life of a guest over the mounted file', async t => {
	await lifeOfGuest(t, overFuse);
});
