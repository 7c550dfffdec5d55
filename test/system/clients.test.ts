/** Real clients of the NBD protocol against the real program with its default assembly. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import fs from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {runTool, testWith} from '../support/external-tools.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, startRuntime, type RuntimeProcess} from '../support/runtime-process.js';
import {SeededRandom} from '../support/seeded-random.js';

const MiB = 2 ** 20;
const deviceByteLength = 1024 * MiB;
const deployFile = join(projectFolder, 'deploy.xml');

const folder = temporaryDirectory();
const stateDirectory = join(folder, 'state');
const socketPath = join(stateDirectory, 'nbd.sock');
const uri = `nbd+unix:///?socket=${socketPath}`;
let runtime: RuntimeProcess;

test.before(async () => {
	runtime = await startRuntime(deployFile, stateDirectory);
});

test.after.always(async () => {
	await runtime?.stop();
});

/** A file of 1 GiB in which every MiB differs from its neighbours. */
function writePatternFile(file: string): void {
	const piece = new SeededRandom(1).bytes(MiB);
	const fd = fs.openSync(file, 'w', 0o600);
	for (let i = 0; i < deviceByteLength / MiB; i++) {
		piece.writeUInt32LE(i, 0);
		piece.writeUInt32LE(i, MiB / 2);
		fs.writeSync(fd, piece);
	}

	fs.closeSync(fd);
}

testWith(['nbdinfo'], 'nbdinfo sees the device and what it can do', async t => {
	const info = JSON.parse(await runTool('nbdinfo', ['--json', uri])) as {exports: Array<Record<string, unknown>>};
	const [device] = info.exports;
	t.is(device['export-size'], deviceByteLength);
	t.is(device.is_read_only, false);
	t.is(device.can_multi_conn, true);
	t.is(device.can_flush, true);
	t.is(device.can_fua, true);
	t.is(device.can_df, true);
	t.regex(await runTool('nbdinfo', ['--list', uri]), /export="current"/);
});

testWith(['nbdcopy', 'cmp'], 'nbdcopy writes 1 GiB and reads it back', async t => {
	const source = join(folder, 'source');
	const copy = join(folder, 'copy');
	writePatternFile(source);
	await runTool('nbdcopy', ['--flush', source, uri]);
	await runTool('nbdcopy', [uri, copy]);
	await runTool('cmp', [source, copy]);
	t.is(fs.statSync(copy).size, deviceByteLength);
	fs.rmSync(source);
	fs.rmSync(copy);
});

testWith(['qemu-io'], 'qemu-io: odd offsets, large requests, FUA and flush', async t => {
	const commands = [
		'write -P 0x11 0 1M',
		'write -P 0x22 1000 5000',
		'write -P 0x33 3 1',
		'write -f -P 0x44 512k 12345',
		'read -P 0x11 0 3',
		'read -P 0x33 3 1',
		'read -P 0x11 4 996',
		'read -P 0x22 1000 5000',
		'read -P 0x11 6000 1000',
		'read -P 0x44 512k 12345',
		'write -P 0x55 5M 32M',
		'read -P 0x55 5M 32M',
		'flush',
	];
	const output = await runTool('qemu-io', ['-f', 'raw', ...commands.flatMap(command => ['-c', command]), uri]);
	t.notRegex(output, /verification failed|error|Invalid/i);
});

testWith(['fio'], 'fio: random writes of many sizes, many in flight, verified with crc32c', async t => {
	const words = [
		'--name=verify',
		'--ioengine=nbd',
		`--uri=${uri}`,
		'--rw=randwrite',
		'--bsrange=512-128k',
		'--bs_unaligned=1',
		'--iodepth=32',
		'--size=64M',
		'--verify=crc32c',
		'--verify_state_save=0',
		'--do_verify=1',
		'--randseed=5',
		'--fsync=64',
	];
	const output = await runTool('fio', words, folder);
	t.regex(output, /err= 0/);
	t.notRegex(output, /verify: bad/);
});

/** Starts nbdfuse and waits until the file is there; the function ends it. */
async function mountWithNbdfuse(file: string): Promise<() => Promise<void>> {
	fs.writeFileSync(file, '');
	const pidFile = `${file}.pid`;
	const fuse = spawn('nbdfuse', ['-P', pidFile, file, uri], {stdio: 'ignore'});
	const ended = once(fuse, 'exit');
	// The pid file appears once the mount serves.
	const watcher = fs.watch(folder);
	try {
		while (!fs.existsSync(pidFile)) {
			await Promise.race([
				once(watcher, 'change'),
				ended.then(() => {
					throw new Error('nbdfuse ended before it served');
				}),
			]);
		}
	} finally {
		watcher.close();
	}

	return async () => {
		await runTool('umount', [file]);
		await ended;
	};
}

/** Undoes in the reverse order, all of it. */
async function undoAll(undo: ReadonlyArray<() => Promise<unknown>>): Promise<void> {
	for (const step of [...undo].reverse()) {
		await step();
	}
}

async function useFileSystem(t: ExecutionContext): Promise<void> {
	const image = join(folder, 'fuse-device');
	const mountPoint = join(folder, 'mounted');
	fs.mkdirSync(mountPoint);
	const content = new SeededRandom(9).bytes(3 * MiB);
	const undo: Array<() => Promise<unknown>> = [await mountWithNbdfuse(image)];
	try {
		const loop = (await runTool('losetup', ['--find', '--show', image])).trim();
		undo.push(async () => runTool('losetup', ['--detach', loop]));
		await runTool('mkfs.ext4', ['-F', '-q', loop]);
		for (const phase of ['write', 'read']) {
			await runTool('mount', [loop, mountPoint]);
			undo.push(async () => runTool('umount', [mountPoint]));
			const file = join(mountPoint, 'content');
			if (phase === 'write') {
				fs.writeFileSync(file, content);
			} else {
				t.true(fs.readFileSync(file).equals(content));
			}

			await undo.pop()!();
			await runTool('e2fsck', ['-f', '-n', loop]);
		}
	} finally {
		await undoAll(undo);
	}
}

const fileSystemTools = [
	'nbdfuse',
	'losetup',
	'mkfs.ext4',
	'e2fsck',
	'mount',
	'root',
	'/dev/fuse',
	'/dev/loop-control',
];
testWith(fileSystemTools, 'a file system on it: mkfs.ext4, mount, write, check, mount, read', async t => {
	await useFileSystem(t);
});

test.serial('what was flushed is there after kill -9, and the runtime ends with 0 when asked', async t => {
	const writer = await NbdPeer.connect(socketPath);
	await writer.attach();
	const flushed = Buffer.alloc(100_000, 0x6b);
	t.is(await writer.write(777_777, flushed), 0);
	writer.request({command: 3});
	t.is((await writer.simpleReply()).error, 0);
	await runtime.stop('SIGKILL');
	runtime = await startRuntime(deployFile, stateDirectory);
	const reader = await NbdPeer.connect(socketPath);
	await reader.attach();
	t.true((await reader.read(777_777, flushed.length)).equals(flushed));
	t.is(await reader.write(0, Buffer.alloc(4096, 0x6c)), 0);
	reader.socket.destroy();
	t.is(await runtime.stop('SIGTERM'), 0);
	t.false(fs.existsSync(socketPath));
	runtime = await startRuntime(deployFile, stateDirectory);
	const last = await NbdPeer.connect(socketPath);
	await last.attach();
	t.deepEqual(await last.read(0, 4096), Buffer.alloc(4096, 0x6c), 'stopping secures what was written');
	last.socket.destroy();
});
