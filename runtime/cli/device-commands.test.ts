import {join} from 'node:path';
import test from 'ava';
import {flipBits, placeOf} from '../../test/support/sparse-image.js';
import {NbdPeer} from '../../test/support/nbd-peer.js';
import {projectFolder, runRuntime, startRuntime, withFolder} from '../../test/support/runtime-process.js';
import {requestControl} from '../supervisor/control-client.js';
import {ProgressLine} from './progress-line.js';
import {formatBytes, formatSeconds, parseBlockCount} from './quantity.js';

const ram = join(projectFolder, 'config/assemblies/ram.xml');
const raw = join(projectFolder, 'config/assemblies/raw.xml');

/** Runs commands on the device of a runtime with the given deployment. */
async function withDevice(
	deployFile: string,
	use: (run: (...words: string[]) => ReturnType<typeof runRuntime>, state: string) => Promise<void>,
): Promise<void> {
	await withFolder(async state => {
		const runtime = await startRuntime(deployFile, state);
		try {
			await use(async (...words) => runRuntime([...words, '--state', state]), state);
		} finally {
			await runtime.stop();
		}
	});
}

async function writeFirstBlock(state: string, value: number): Promise<void> {
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	await peer.attach();
	await peer.write(0, Buffer.alloc(4096, value));
	peer.socket.destroy();
}

/** Content behind the first block that takes a while to be verified. */
async function fill(state: string): Promise<void> {
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	await peer.attach();
	for (let offset = 2 ** 20; offset < 257 * 2 ** 20; offset += 2 ** 25) {
		await peer.write(offset, Buffer.alloc(2 ** 25, 7));
	}

	peer.socket.destroy();
}

async function readFirstBlock(state: string): Promise<Buffer> {
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	await peer.attach();
	const data = await peer.read(0, 4096);
	peer.socket.destroy();
	return data;
}

const misuses: ReadonlyArray<readonly [readonly string[], RegExp]> = [
	[['snapshot'], /Usage: runtime snapshot/],
	[['snapshot', 'discard'], /missing required argument 'snapshot'/],
	[['extend'], /say what to extend, and by how much/],
	[['extend', 'vbd'], /say what to extend, and by how much/],
	[['extend', 'disk', '1M'], /Allowed choices are vbd, ft/],
	[['extend', 'vbd', '1K'], /write whole blocks/],
	[['extend', 'vbd', '0'], /write whole blocks/],
	[['rekey', '--pause', '--resume'], /cannot be used with/],
];

for (const [words, pattern] of misuses) {
	test(`"runtime ${words.join(' ')}" ends with 2`, async t => {
		const {code, output} = await runRuntime(words);
		t.is(code, 2);
		t.regex(output, pattern);
	});
}

test('without a running runtime, and without a device in it, the commands say so', async t => {
	await withFolder(async state => {
		const {code, output} = await runRuntime(['snapshot', 'list', '--state', state]);
		t.is(code, 1);
		t.regex(output, /no runtime uses the state directory/);
	});
	await withDevice(raw, async run => {
		const {code, output} = await run('rekey');
		t.is(code, 1);
		t.regex(output, /no child provides the service device_control/);
	});
});

test('snapshots: created, listed, reverted to and discarded', async t => {
	await withDevice(ram, async (run, state) => {
		t.regex((await run('snapshot', 'list')).output, /there are no snapshots/);
		await writeFirstBlock(state, 1);
		const {generation} = JSON.parse((await run('snapshot', 'create', '--json')).output) as {generation: number};
		t.regex(
			(await run('snapshot', 'create')).output,
			new RegExp(`^nothing was written since snapshot ${generation}, .*no other one was created\n$`),
		);
		await writeFirstBlock(state, 2);
		t.regex(
			(await run('snapshot', 'list')).output,
			new RegExp(
				`^${generation} +- +20\\d\\d-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d +1\\.0 GiB +20\\.0 KiB +snapshots/${generation}$`,
				'm',
			),
		);
		const {
			snapshots: [{time, ...listed}],
		} = JSON.parse((await run('snapshot', 'list', '--json')).output) as {snapshots: Array<{time: string}>};
		t.deepEqual(listed as unknown, {generation, bytes: 2 ** 30, heldBytes: 20_480});
		t.regex(time, /^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
		t.true(Math.abs(Date.parse(time) - Date.now()) < 600_000);
		t.is((await run('snapshot', 'revert', String(generation))).code, 0);
		t.deepEqual(await readFirstBlock(state), Buffer.alloc(4096, 1));
		const unknown = await run('snapshot', 'discard', '999999');
		t.is(unknown.code, 1);
		t.regex(unknown.output, /^\[runtime\] there is no snapshot 999999\n$/);
		t.is((await run('snapshot', 'discard', String(generation), '--device', 'superblock_control')).code, 0);
		t.regex((await run('snapshot', 'list')).output, /there are no snapshots/);
	});
});

test('snapshots have names: created, listed with their times, attached, reverted to and discarded by them', async t => {
	await withDevice(ram, async (run, state) => {
		await writeFirstBlock(state, 1);
		t.regex(
			(await run('snapshot', 'create', 'before upgrade')).output,
			/^snapshot \d+ "before upgrade" was created\n$/,
		);
		await writeFirstBlock(state, 2);
		const {generation, name} = JSON.parse((await run('snapshot', 'create', 'später', '--json')).output) as {
			generation: number;
			name: string;
		};
		t.is(name, 'später');
		const {snapshots} = JSON.parse((await run('snapshot', 'list', '--json')).output) as {
			snapshots: Array<{name: string}>;
		};
		t.deepEqual(
			snapshots.map(snapshot => snapshot.name),
			['before upgrade', 'später'],
		);
		t.regex(
			(await run('snapshot', 'list')).output,
			/^SNAPSHOT +NAME +TIME +SIZE +HELD ALONE +NBD EXPORT\n\d+ +before upgrade +20\d\d-\d\d-\d\d \d\d:\d\d:\d\d +1\.0 GiB /,
		);
		for (const [wanted, pattern] of [
			[
				'before upgrade',
				/there is a snapshot "before upgrade" already \(\d+\); discard it first or choose another name/,
			],
			['2026', /"2026" would look like the number of a snapshot/],
			['a/b', /"a\/b" is a path/],
			['x'.repeat(49), /has 1 to 48 bytes, this one has 49; no snapshot was created/],
		] as const) {
			const {code, output} = await run('snapshot', 'create', wanted);
			t.is(code, 1);
			t.regex(output, pattern);
		}

		const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
		await peer.attach({name: 'snapshots/before upgrade'});
		t.deepEqual(await peer.read(0, 4096), Buffer.alloc(4096, 1));
		peer.socket.destroy();
		t.regex(
			(await run('snapshot', 'revert', 'before upgrade')).output,
			/^the device holds the content of snapshot \d+ "before upgrade" again; the snapshot stays\n$/,
		);
		t.deepEqual(await readFirstBlock(state), Buffer.alloc(4096, 1));
		const unknown = await run('snapshot', 'discard', 'before upgrad');
		t.is(unknown.code, 1);
		t.regex(
			unknown.output,
			/there is no snapshot "before upgrad"; did you mean "before upgrade"\? "runtime snapshot list" shows/,
		);
		t.is((await run('snapshot', 'discard', 'before upgrade')).code, 0);
		t.is((await run('snapshot', 'discard', String(generation))).code, 0);
		t.regex((await run('snapshot', 'list')).output, /there are no snapshots/);
	});
});

test('an extension is watched to its end, and status shows the new size and the pool', async t => {
	await withDevice(ram, async run => {
		const {code, output} = await run('extend', 'vbd', '16M');
		t.is(code, 0);
		t.regex(
			output,
			/extending: done; the device has 1\.0 GiB \(\d+ blocks\) and a pool of 128\.0 MiB\. NBD clients .* connect again;.*resize2fs\n$/,
		);
		t.regex(
			(await run('status', '--wide')).output,
			/^DEVICE +STATE +SIZE.*\nsuperblock_control +normal +1\.0 GiB +0 B +0 B +\d+ +0 +128\.0 MiB +\d+\.\d MiB +(?:9\d|100) +0 B +- +-$/m,
		);
		const {devices} = JSON.parse((await run('status', '--json')).output) as {
			devices: Array<{child: string; blockCount: number}>;
		};
		t.is(devices.length, 1);
		t.true(devices[0].blockCount > 262_144 && devices[0].blockCount <= 262_144 + 4096);
		const refused = await run('extend', 'vbd', '100T');
		t.is(refused.code, 1);
		t.regex(refused.output, /more than the format allows.*nothing was changed/);
	});
});

test('a rekeying can be left, paused, seen again and ends by itself', async t => {
	await withDevice(ram, async run => {
		t.regex((await run('rekey', '--pause')).output, /nothing to pause/);
		t.regex((await run('rekey', '--attach')).output, /not going on; last result: none/);
		t.regex((await run('rekey', '--detach')).output, /goes on by itself; "runtime rekey --attach"/);
		t.regex((await run('rekey', '--pause')).output, /is paused/);
		t.regex((await run('status')).output, /^superblock_control: rekey \d+ %, paused$/m);
		t.true((await run('status')).output.split('\n').every(line => line.length <= 100));

		// Whoever waited for the end of what is paused would wait for ever.
		const again = await run('rekey');
		t.is(again.code, 1);
		t.regex(
			again.output,
			/going on already and is paused .*no other one was begun\. "runtime rekey --resume" lets it go on\n$/,
		);
		t.regex(
			(await run('rekey', '--attach')).output,
			/rekeying is paused .*"runtime rekey --resume" lets it go on\n$/,
		);

		t.is((await run('rekey', '--resume')).code, 0);
		const {code, output} = await run('rekey', '--attach', '--json');
		t.is(code, 0);
		t.like(JSON.parse(output), {operation: 'rekey', phase: 'idle', lastResult: 'success'});
	});
});

test('a verification is watched to its end, can be paused, and tells of damage by its exit code', async t => {
	await withDevice(ram, async (run, state) => {
		await writeFirstBlock(state, 1);
		await fill(state);
		const {code, output} = await run('verify');
		t.is(code, 0);
		t.regex(output, /verifying: done; everything that is in use matches its labels\n$/);
		t.like(JSON.parse((await run('verify', '--json')).output), {
			operation: 'verify',
			phase: 'idle',
			lastResult: 'success',
		});
		t.regex((await run('verify', '--attach')).output, /not going on; last result: success/);
		t.regex((await run('verify', '--detach')).output, /goes on by itself; "runtime verify --attach"/);
		// A command of its own could come too late for so little to verify.
		await requestControl(state, {op: 'call', service: 'device_control', operation: 'check'}).catch(() => undefined);
		await requestControl(state, {
			op: 'call',
			service: 'device_control',
			operation: 'pause',
			request: {operation: 'check'},
		});
		t.regex((await run('verify', '--pause')).output, /verifying is paused; requests to the device go on/);
		t.regex(
			(await run('verify')).output,
			/verifying is going on already and is paused .*"runtime verify --resume" lets it go on\n$/,
		);
		t.is((await run('verify', '--resume')).code, 0);
		t.like(JSON.parse((await run('verify', '--attach', '--json')).output), {
			operation: 'verify',
			lastResult: 'success',
		});
	});
	await withFolder(async state => {
		const runtime = await startRuntime(join(projectFolder, 'config/assemblies/no_encryption.xml'), state);
		try {
			await writeFirstBlock(state, 0x77);
			await requestControl(state, {op: 'call', service: 'device_control', operation: 'create_snapshot'});
			const image = join(state, 'cbe.img');
			flipBits(image, placeOf(image, Buffer.alloc(4096, 0x77)), 1);
			const {code, output} = await runRuntime(['verify', '--state', state]);
			t.is(code, 1);
			t.regex(output, /verifying: damage was found.*the runtime's log names the blocks/);
			t.regex(runtime.output, /error/);
		} finally {
			await runtime.stop();
		}
	});
});

test('progress: a bar on a terminal, a line now and then elsewhere', t => {
	const status = {
		phase: 'in-progress' as const,
		lastResult: 'none' as const,
		total: 200,
		bytesPerSecond: 2 ** 21,
		secondsLeft: 150,
	};
	const [terminal, log]: [string[], string[]] = [[], []];
	const bar = new ProgressLine('rekeying', {isTerminal: true, write: text => void terminal.push(text)});
	const lines = new ProgressLine('rekeying', {isTerminal: false, write: text => void log.push(text)});
	for (let done = 0; done <= 200; done++) {
		bar.show({...status, done});
		lines.show({...status, done});
	}

	bar.end();
	lines.end();
	t.is(terminal[100], `\r\u001B[Krekeying [${'#'.repeat(15)}${'-'.repeat(15)}] 50 %, 2.0 MiB/s, 3 min left`);
	t.is(terminal.at(-1), '\n');
	t.is(log.length, 11);
	t.is(log[1], 'rekeying: 10 %, 2.0 MiB/s, 3 min left\n');
});

test('sizes and times as people write them', t => {
	t.is(parseBlockCount('65536'), 65_536);
	t.is(parseBlockCount('256M'), 65_536);
	t.is(parseBlockCount('8K'), 2);
	t.deepEqual(
		['', '0', '1K', '-1', '1.5G', '10m', 'M', '9'.repeat(16)].map(text => parseBlockCount(text)),
		Array.from({length: 8}, () => undefined),
	);
	t.deepEqual(
		[0, 4096, 2 ** 30, 5 * 2 ** 40].map(count => formatBytes(count)),
		['0 B', '4.0 KiB', '1.0 GiB', '5.0 TiB'],
	);
	t.deepEqual(
		[0, 119, 150, 7200, 86_400 * 3].map(seconds => formatSeconds(seconds)),
		['0 s', '119 s', '3 min', '2 h 0 min', '3 d 0 h'],
	);
});
