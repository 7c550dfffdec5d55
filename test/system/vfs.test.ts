/** The mounted file system and the shell, on the real program with its default assembly. */
import fs from 'node:fs';
import {join} from 'node:path';
import test, {type ExecutionContext} from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {missingRequirements, runTool, testWith} from '../support/external-tools.js';
import {projectFolder, runRuntime, startRuntime, type RuntimeProcess} from '../support/runtime-process.js';

const MiB = 2 ** 20;
const deployFile = join(projectFolder, 'deploy.xml');
const folder = temporaryDirectory();
const stateDirectory = join(folder, 'state');
const mountPoint = join(stateDirectory, 'cbe');
const data = join(mountPoint, 'current/data');
const needed = ['/dev/fuse', 'root'];
let runtime: RuntimeProcess;

test.before(async () => {
	runtime = await startRuntime(deployFile, stateDirectory);
});

test.after.always(async () => {
	await runtime?.stop();
});

/** Every access is a program of its own, so that one that hangs is a failure of its test, and can be ended. */
async function sh(command: string): Promise<string> {
	return runTool('timeout', ['60', 'sh', '-c', command], mountPoint);
}

/** Of the part of an image in which the superblocks, the trees and the first data lie. */
async function digest(image: string): Promise<string> {
	return runTool('sh', ['-c', `head -c ${64 * MiB} "$1" | sha256sum`, 'sh', image]);
}

async function shell(t: ExecutionContext, command: string): Promise<string> {
	const {code, output} = await runRuntime(['shell', '--state', stateDirectory, '-c', command]);
	t.is(code, 0, output);
	return output;
}

testWith(needed, 'the tree of the article', async t => {
	t.is(await sh('ls'), 'control\ncurrent\nsnapshots\n');
	const files = (await sh('ls control')).trim().split('\n');
	for (const name of [
		'check',
		'check_progress',
		'create_snapshot',
		'deinitialize',
		'discard_snapshot',
		'extend',
		'extend_progress',
		'lock',
		'rekey',
		'rekey_progress',
		'revert_snapshot',
		'unlock',
	]) {
		t.true(files.includes(name), name);
		t.is(await sh(`cat control/${name}`), 'idle last-result:none\n');
	}

	t.regex(await sh('stat -c "%s %A" current/data'), /^1073741824 -rw-------$/m);
	await t.throwsAsync(sh('mkdir x'), {message: /not permitted/});
	await t.throwsAsync(sh('ls control/nothing'), {message: /No such file/});
});

testWith([...needed, 'qemu-io', 'qemu-img'], 'qemu-io: odd offsets, holes, zeroes', async t => {
	const commands = [
		'write -P 0x11 0 1M',
		'write -P 0x22 1000 5000',
		'write -P 0x33 3 1',
		'read -P 0x11 0 3',
		'read -P 0x33 3 1',
		'read -P 0x11 4 996',
		'read -P 0x22 1000 5000',
		'read -P 0x11 6000 1000',
		'write -P 0x55 5M 32M',
		'read -P 0x55 5M 32M',
		'write -z 8192 8192',
		'read -P 0 8192 8192',
		'read -P 0x11 16384 4096',
		'discard 512k 256k',
		'read -P 0 512k 256k',
		'flush',
	];
	for (const cache of ['writeback', 'none']) {
		const output = await runTool('qemu-io', [
			'-t',
			cache,
			'-f',
			'raw',
			...commands.flatMap(command => ['-c', command]),
			data,
		]);
		t.notRegex(output, /verification failed|error|Invalid/i);
	}

	const map = JSON.parse(await runTool('qemu-img', ['map', '--output=json', '-f', 'raw', data])) as Array<{
		start: number;
		length: number;
		data: boolean;
	}>;
	t.deepEqual(
		map.slice(0, 3).map(({start, length, data}) => ({start, length, data})),
		[
			{start: 0, length: 8192, data: true},
			{start: 8192, length: 8192, data: false},
			{start: 16_384, length: 507_904, data: true},
		],
	);
	t.like(map[3], {start: 512 * 1024, length: 256 * 1024, data: false});
	const {code, output} = await runRuntime(['status', '--json', '--state', stateDirectory]);
	t.is(code, 0, output);
	const {children} = JSON.parse(output) as {children: Array<{name: string; requests: number; bytes: number}>};
	const served = children.find(({name}) => name === 'vfs');
	t.true(served !== undefined && served.requests > 50 && served.bytes > 64 * 2 ** 20, JSON.stringify(served));
});

testWith([...needed, 'dd', 'cmp'], 'dd writes what cmp reads, cached and direct', async t => {
	const source = join(folder, 'source');
	fs.writeFileSync(source, Buffer.alloc(8 * MiB, 'all bytes are equal, but some are not '));
	await sh(`dd if=${source} of=current/data bs=1M conv=notrunc,fsync oflag=direct seek=64`);
	await sh(`cmp -n ${8 * MiB} ${source} current/data 0 ${64 * MiB}`);
	await sh(`dd if=${source} of=current/data bs=777 count=1000 conv=notrunc,fsync seek=1`);
	await sh(`dd if=current/data bs=1M count=1 iflag=direct | cmp -n 777000 -i 777:0 - ${source}`);
	await t.throwsAsync(sh('dd if=/dev/zero of=current/data bs=4096 seek=262144 count=1 conv=notrunc'), {
		message: /No space left/,
	});
	await sh('printf short > current/data');
	t.regex(await sh('stat -c %s current/data'), /^1073741824$/m, 'the device cannot be cut off');
});

testWith(needed, 'a snapshot keeps its content, and comes back by one command', async t => {
	await sh('printf before | dd of=current/data conv=notrunc,fsync status=none; echo true > control/create_snapshot');
	const generation = (await sh('ls snapshots')).trim();
	t.regex(generation, /^\d+$/);
	await sh('printf after! | dd of=current/data conv=notrunc status=none');
	t.is(await sh(`head -c 6 current/data; head -c 6 snapshots/${generation}/data`), 'after!before');
	await t.throwsAsync(sh(`printf x | dd of=snapshots/${generation}/data conv=notrunc`), {
		message: /Read-only|not permitted|denied/i,
	});
	await sh(`echo ${generation} > control/revert_snapshot`);
	t.is(await sh('head -c 6 current/data'), 'before');
	await sh(`echo ${generation} > control/discard_snapshot`);
	t.is(await sh('ls snapshots'), '');
	t.is(await sh('cat control/discard_snapshot'), 'idle last-result:success\n');
});

testWith(needed, 'what is not understood is EINVAL, with the reason in the log', async t => {
	for (const [file, text, reason] of [
		['extend', 'tree=vbd', /extend: "" is no number of blocks/],
		['extend', 'tree=wood,blocks=1', /extend: there is no tree "wood"/],
		[
			'extend',
			'tree=vbd,blocks=9999999999',
			/extend: 9999999999 blocks are more than the format allows: the device can take \d+ more; nothing was changed/,
		],
		[
			'extend',
			'tree=ft,blocks=99999999999',
			/extend: 99999999999 blocks are more than the format allows: the free tree can take \d+ more; nothing was changed/,
		],
		['rekey', 'please', /rekey: "please" is not understood; write "true"/],
		['discard_snapshot', '999999', /discard_snapshot: there is no snapshot 999999/],
	] as const) {
		await t.throwsAsync(sh(`/bin/echo ${text} > control/${file}`), {message: /Invalid argument/});
		await runtime.printed(reason);
	}
});

testWith(needed, 'the device grows to the size of the article while it is used', async t => {
	const sizes = (
		await sh(`
		echo "tree=vbd, blocks=65536" > control/extend
		while grep -q in-progress control/extend; do stat -c %s current/data; done
		cat control/extend
		stat -c %s current/data`)
	)
		.trim()
		.split('\n');
	const byteLength = Number(sizes.pop());
	t.is(sizes.pop(), 'idle last-result:success');
	t.is(byteLength, 1_337_978_880);
	for (const size of sizes.map(Number).filter(size => size !== byteLength)) {
		t.is((size - 1024 * MiB) % (64 * 4096), 0, `${size} bytes lie between two steps of 64 blocks`);
	}

	await sh(`printf end | dd of=current/data bs=1 seek=${byteLength - 3} conv=notrunc,fsync status=none`);
	t.is(await sh('tail -c 3 current/data'), 'end');
});

testWith(
	[...needed, 'losetup', 'mkfs.ext4', 'e2fsck', 'fstrim', '/dev/loop-control'],
	'a file system on a loop device on it',
	async t => {
		const place = join(folder, 'mounted');
		fs.mkdirSync(place);
		const output = await sh(`
		set -e
		loop=$(losetup --direct-io=on --find --show ${data})
		trap 'umount ${place} 2>/dev/null; losetup -d $loop' EXIT
		mkfs.ext4 -q -F $loop
		mount $loop ${place}
		cp -r ${join(projectFolder, 'components')} ${place}/
		rm -r ${place}/components/nbd
		fstrim ${place}
		sync
		umount ${place}
		e2fsck -f -n $loop
		mount -o ro $loop ${place}
		diff -r ${join(projectFolder, 'components/vfs')} ${place}/components/vfs && echo same`);
		t.regex(output, /\nsame\n/);
	},
);

testWith(needed, 'a component that is restarted mounts again; files that were open fail', async t => {
	const program = join(projectFolder, 'runtime/bin/runtime.js');
	const output = await sh(`
		exec 9<current/data
		head -c 4096 <&9 >/dev/null && echo read
		${process.execPath} ${program} restart vfs --state ${stateDirectory}
		head -c 4096 <&9 >/dev/null 2>&1 || echo failed
		ls ${mountPoint}/current`);
	t.is(output, 'read\n[runtime] child "vfs" was restarted\nfailed\ndata\n');
});

test.serial('the shell shows and controls the same tree without the mount', async t => {
	t.regex(await shell(t, 'ls -l'), /^dr-x------ +0 current$/m);
	t.regex(await shell(t, 'ls -l current'), /^-rw------- \d{10} data$/m);
	const source = join(folder, 'host-file');
	fs.writeFileSync(source, Buffer.alloc(100_000, 'host'));
	t.regex(await shell(t, `dd if=host:${source} of=current/data bs=1K seek=3`), /^100000 bytes copied /);
	t.regex(
		await shell(t, `dd if=current/data of=host:${source}.copy bs=1K skip=3 count=97`),
		new RegExp(`^${97 * 1024} bytes copied `),
	);
	t.true(fs.readFileSync(`${source}.copy`).equals(fs.readFileSync(source).subarray(0, 97 * 1024)));
	await shell(t, 'echo true > control/create_snapshot');
	const generation = (await shell(t, 'ls snapshots')).trim();
	t.regex(
		await shell(t, `dd if=snapshots/${generation}/data of=current/data bs=1K skip=3 seek=200 count=1`),
		/^1024 bytes copied /,
	);
	await shell(t, `echo ${generation} > control/discard_snapshot`);
	t.is(await shell(t, 'cat control/create_snapshot'), 'idle last-result:success\n');
	for (const [command, code, message] of [
		['echo x > control/rekey', 1, /"x" is not understood; write "true"/],
		['cat nothing', 1, /there is no nothing/],
		['fly', 2, /there is no command "fly"/],
		['dd if=current/data', 2, /dd needs if=FILE and of=FILE/],
	] as const) {
		const result = await runRuntime(['shell', '--state', stateDirectory, '-c', command]);
		t.is(result.code, code);
		t.regex(result.output, message);
	}
});

testWith(needed, 'no dead mount stays after kill -9, and stopping unmounts', async t => {
	await runtime.stop('SIGKILL');
	runtime = await startRuntime(deployFile, stateDirectory);
	t.is(await sh('ls current'), 'data\n');
	const held = fs.openSync(mountPoint, 'r');
	try {
		t.is(await runtime.stop(), 0, 'stopping does not wait for those who hold the mount');
	} finally {
		fs.closeSync(held);
	}

	t.false(fs.readFileSync('/proc/self/mountinfo', 'utf8').includes(mountPoint));
	runtime = await startRuntime(deployFile, stateDirectory);
});

testWith(needed, 'deinitialize makes everything durable and serves the data no more', async t => {
	await sh('printf durable | dd of=current/data conv=notrunc status=none; echo true > control/deinitialize');
	await t.throwsAsync(sh('head -c 1 current/data'), {message: /transport endpoint shutdown|Cannot send/i});
	await runtime.stop('SIGKILL');
	runtime = await startRuntime(deployFile, stateDirectory);
	t.is(await sh('head -c 7 current/data'), 'durable');
});

test.serial('where FUSE is missing, one line says so and everything else works', async t => {
	if (missingRequirements(needed).length > 0) {
		t.regex(runtime.output, /no file system at .*runtime shell/);
		return;
	}

	// A file is where the directory should be.
	await runtime.stop();
	fs.rmdirSync(mountPoint);
	fs.writeFileSync(mountPoint, '');
	runtime = await startRuntime(deployFile, stateDirectory);
	t.regex(
		runtime.output,
		/\[runtime -> vfs\] warning: no file system at .*: the directory cannot be made: .*"runtime shell" shows the same tree/,
	);
	t.regex(await shell(t, 'ls'), /^current$/m);
});

testWith([...needed, 'setpriv'], 'allow_other lets every user at the data; readonly lets nobody write', async t => {
	const state = join(folder, 'shared');
	fs.chmodSync(folder, 0o711);
	fs.mkdirSync(state);
	const shared = await startRuntime(join(projectFolder, 'config/assemblies/vfs.xml'), state);
	const asNobody = async (command: string) =>
		runTool(
			'setpriv',
			['--reuid=65534', '--regid=65534', '--clear-groups', 'timeout', '60', 'sh', '-c', command],
			state,
		);
	try {
		// Everybody may pass through to the mount point.
		fs.chmodSync(state, 0o711);
		t.is(
			await asNobody(
				'printf hello | dd of=disk/current/data conv=notrunc,fsync status=none; head -c 5 disk/current/data',
			),
			'hello',
		);
		t.is(await runTool('timeout', ['60', 'head', '-c', '5', join(state, 'disk_readonly/current/data')]), 'hello');
		await t.throwsAsync(asNobody('head -c 5 disk_readonly/current/data'), {message: /Permission denied/});
		await t.throwsAsync(
			runTool('dd', [
				'if=/dev/zero',
				`of=${join(state, 'disk_readonly/current/data')}`,
				'count=1',
				'conv=notrunc',
			]),
			{message: /Read-only|not permitted|Permission denied/},
		);
	} finally {
		t.is(await shared.stop(), 0);
	}
});

testWith(
	[...needed, 'bash', 'dd', 'truncate', 'fallocate', 'perl'],
	'a medium that is read-only is a file that nobody writes to, root neither',
	async t => {
		const state = join(folder, 'readonly');
		const file = join(state, 'cbe/current/data');
		const bash = async (command: string) => runTool('timeout', ['60', 'bash', '-c', command, 'bash', file]);
		const first = await startRuntime(deployFile, state);
		await bash('printf "was here" | dd of="$1" conv=notrunc,fsync status=none');
		t.is(await first.stop(), 0, first.output);
		const image = await digest(join(state, 'cbe.img'));
		const edited = join(folder, 'readonly.xml');
		const deployment = fs.readFileSync(deployFile, 'utf8');
		fs.writeFileSync(
			edited,
			deployment.replace('<config path="cbe.img" create="yes"/>', '<config path="cbe.img" readonly="yes"/>'),
		);
		const second = await startRuntime(edited, state);
		try {
			t.is(await bash('head -c 8 "$1"; stat -c " %A" "$1"'), 'was here -r--------\n');
			for (const command of [
				'exec 3<>"$1"',
				'exec 3>"$1"',
				'exec 3>>"$1"',
				'dd if=/dev/zero of="$1" bs=4096 count=1 conv=notrunc',
				'dd if=/dev/zero of="$1" bs=4096 count=1 oflag=direct conv=notrunc',
				'truncate -s 4096 "$1"',
				'truncate -s 0 "$1"',
				'truncate -c -s +4096 "$1"',
				'fallocate -l 4096 "$1"',
				'fallocate -p -o 0 -l 4096 "$1"',
				'fallocate -z -o 0 -l 4096 "$1"',
			]) {
				await t.throwsAsync(bash(command), {message: /Read-only file system/}, command);
			}

			// By name: truncate(1) opens the file first.
			for (const size of [0, 4096]) {
				await t.throwsAsync(bash(`perl -e 'truncate($ARGV[0], ${size}) or die $!' "$1"`), {
					message: /Read-only file system/,
				});
			}

			t.is(
				await bash('head -c 8 "$1"; cat "${1%/current/data}/control/rekey"'),
				'was hereidle last-result:none\n',
			);
		} finally {
			t.is(await second.stop(), 0, second.output);
		}

		t.notRegex(second.output, /died|a request failed/);
		t.is(await digest(join(state, 'cbe.img')), image);
	},
);
