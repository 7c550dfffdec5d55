/** The tree as the `file_system` session shows it, over a device in memory and a control that does what the test says. */
import test from 'ava';
import {startComponent} from '../../test/support/component-stand.js';
import {MemoryMedium} from '../../test/support/memory-medium.js';
import {SessionError} from '../../runtime/sdk/session.js';
import {connectLocal} from '../../runtime/transport/local.js';
import {block} from '../sessions/block.js';
import type {SnapshotDescription} from '../sessions/device-control.js';
import {fileSystem} from '../sessions/file-system.js';
import vfs from './component.js';

const blockSize = 4096;
const idle = {phase: 'idle', lastResult: 'none', done: 0, total: 0, bytesPerSecond: 0} as const;

/** What the component asks of the device's control; a test replaces what it needs. */
function scriptedControl() {
	const asked: unknown[] = [];
	return {
		asked,
		snapshots: [{generation: 7, blockCount: 4, keep: true}] as SnapshotDescription[],
		operations: async () => ({
			extend: idle,
			rekey: {...idle, phase: 'in-progress', done: 1, total: 4},
			check: idle,
		}),
		async list_snapshots() {
			return {snapshots: this.snapshots};
		},
		async read_snapshot({data}: {data: Uint8Array}) {
			data.fill(0x77);
			return {};
		},
		async create_snapshot({name}: {name?: string}) {
			asked.push(name === undefined ? 'create_snapshot' : {name});
			return {generation: 8};
		},
		async revert_snapshot(request: unknown) {
			asked.push(request);
			return {};
		},
		async extend(extension: unknown) {
			asked.push(extension);
			return {};
		},
		async rekey(): Promise<unknown> {
			throw new SessionError('refused', 'the container is extending_vbd now');
		},
	};
}

async function start(config: Record<string, string> = {}) {
	const medium = new MemoryMedium(Buffer.alloc(16 * blockSize));
	const control = scriptedControl();
	control.list_snapshots = control.list_snapshots.bind(control);
	const device = connectLocal(block, medium.handlers, {
		context: {session: 1, client: 'vfs'},
		onBug: error => {
			throw error;
		},
	});
	const stand = await startComponent(vfs, {config, sessions: {device, control}});
	return {stand, medium, control, files: stand.client(fileSystem)};
}

function bytesOf(text: string): Uint8Array {
	return Buffer.from(text);
}

async function text(
	files: Awaited<ReturnType<typeof start>>['files'],
	path: string,
	offset = 0,
	length = 64,
): Promise<string> {
	return Buffer.from((await files.read({path, offset, length})).data).toString();
}

test('the tree, with sizes and modes', async t => {
	const {files} = await start();
	t.deepEqual(
		(await files.list({path: '/'})).entries.map(({name, kind}) => `${kind} ${name}`),
		['directory control', 'directory current', 'directory snapshots'],
	);
	t.deepEqual((await files.list({path: 'current'})).entries, [
		{name: 'data', kind: 'file', mode: 0o600, byteLength: 16 * blockSize, takesSecret: false},
	]);
	t.deepEqual((await files.list({path: '/snapshots/7'})).entries, [
		{name: 'data', kind: 'file', mode: 0o400, byteLength: 4 * blockSize, takesSecret: false},
	]);
	t.is((await files.describe({path: 'control/rekey_progress'})).mode, 0o400);
	await t.throwsAsync(files.describe({path: 'snapshots/8'}), {code: 'not_found'});
	await t.throwsAsync(files.list({path: 'current/data'}), {code: 'not_a_directory'});
	await t.throwsAsync(files.read({path: 'current', offset: 0, length: 1}), {code: 'is_a_directory'});
});

test('what is read lies in the memory that the caller brings, and in memory of its own where none or too little is brought', async t => {
	const {files} = await start();
	await files.write({path: 'current/data', offset: 0, data: bytesOf('brought along')});
	const into = new Uint8Array(13);
	const {data} = await files.read({path: 'current/data', offset: 0, length: 13, into});
	t.is(data.buffer, into.buffer);
	t.is(Buffer.from(into).toString(), 'brought along');
	const atEnd = await files.read({path: 'current/data', offset: 16 * blockSize - 3, length: 13, into});
	t.is(atEnd.data.length, 3);
	t.is(atEnd.data.buffer, into.buffer);
	const small = await files.read({path: 'current/data', offset: 0, length: 13, into: into.subarray(0, 5)});
	t.is(Buffer.from(small.data).toString(), 'brought along');
	t.not(small.data.buffer, into.buffer);
});

test('data is read and written at any offset, to the end of the device and not beyond', async t => {
	const {files, medium} = await start();
	await files.write({path: 'current/data', offset: 4090, data: bytesOf('across blocks')});
	t.is(medium.image.toString('latin1', 4090, 4103), 'across blocks');
	t.is(await text(files, 'current/data', 4097, 6), 'blocks');
	t.is((await text(files, 'current/data', 16 * blockSize - 3)).length, 3);
	t.is(await text(files, 'current/data', 16 * blockSize), '');
	await t.throwsAsync(files.write({path: 'current/data', offset: 16 * blockSize - 1, data: bytesOf('ab')}), {
		code: 'no_space',
	});
	t.is(medium.image.at(-1), 0, 'a write that does not fit changes nothing');
});

test('snapshots are read and never written', async t => {
	const {files, control} = await start();
	t.is(await text(files, 'snapshots/7/data', 1, 3), 'www');
	await t.throwsAsync(files.write({path: 'snapshots/7/data', offset: 0, data: bytesOf('x')}), {
		code: 'not_permitted',
	});
	control.snapshots = [];
	await t.throwsAsync(files.read({path: 'snapshots/7/data', offset: 0, length: 1}), {code: 'not_found'});
});

test('control files carry out commands and tell how operations stand', async t => {
	const {files, control} = await start();
	t.is(await text(files, 'control/create_snapshot'), 'idle last-result:none\n');
	await files.write({path: 'control/create_snapshot', offset: 0, data: bytesOf('true\n')});
	await files.write({path: 'control/extend', offset: 0, data: bytesOf('tree=vbd, blocks=5\n')});
	t.deepEqual(control.asked, ['create_snapshot', {tree: 'vbd', blockCount: 5}]);
	t.is(await text(files, 'control/create_snapshot'), 'idle last-result:success\n');
	t.is(await text(files, 'control/rekey'), 'in-progress last-result:none\n');
	t.regex(await text(files, 'control/rekey_progress'), /^in-progress 25\.0% /);
});

test('snapshots have their name and their time beside their data, and are named by either', async t => {
	const {files, control, stand} = await start();
	control.snapshots = [
		{generation: 7, blockCount: 4, keep: true},
		{generation: 9, name: 'before upgrade', time: 1_767_323_045, blockCount: 4, keep: true},
	];
	t.deepEqual(
		(await files.list({path: '/snapshots/9'})).entries.map(({name, mode}) => `${name} ${mode.toString(8)}`),
		['data 400', 'name 400', 'time 400'],
	);
	t.is(await text(files, 'snapshots/9/name'), 'before upgrade\n');
	t.is(await text(files, 'snapshots/9/time'), '2026-01-02T03:04:05.000Z\n');
	t.is(await text(files, 'snapshots/9/data', 1, 3), 'www');
	await t.throwsAsync(files.read({path: 'snapshots/7/name', offset: 0, length: 1}), {code: 'not_found'});
	await t.throwsAsync(files.write({path: 'snapshots/9/name', offset: 0, data: bytesOf('x')}), {
		code: 'not_permitted',
	});
	await files.write({path: 'control/create_snapshot', offset: 0, data: bytesOf('after upgrade\n')});
	await files.write({path: 'control/revert_snapshot', offset: 0, data: bytesOf('before upgrade\n')});
	await files.write({path: 'control/revert_snapshot', offset: 0, data: bytesOf('7\n')});
	t.deepEqual(control.asked, [{name: 'after upgrade'}, {generation: 9}, {generation: 7}]);
	await t.throwsAsync(files.write({path: 'control/revert_snapshot', offset: 0, data: bytesOf('before')}), {
		code: 'invalid',
		message: /there is no snapshot "before"/,
	});
	t.is(stand.log.length, 1);
});

test('commands that fail: the reason is in the log, and the file remembers', async t => {
	const {files, stand, control} = await start();
	await t.throwsAsync(files.write({path: 'control/create_snapshot', offset: 0, data: bytesOf(' ')}), {
		code: 'invalid',
	});
	t.is(await text(files, 'control/create_snapshot'), 'idle last-result:failed\n');
	await t.throwsAsync(files.write({path: 'control/rekey', offset: 0, data: bytesOf('true')}), {code: 'busy'});
	await t.throwsAsync(files.write({path: 'control/extend', offset: 0, data: bytesOf('x'.repeat(5000))}), {
		code: 'invalid',
	});
	await t.throwsAsync(files.write({path: 'control/rekey_progress', offset: 0, data: bytesOf('true')}), {
		code: 'not_permitted',
	});
	t.deepEqual(control.asked, []);
	t.deepEqual(
		stand.log.map(({text}) => text),
		[
			'create_snapshot: nothing was written; write "true", or a name for the snapshot (EINVAL)',
			'rekey: the container is extending_vbd now (EBUSY)',
			'extend: a command of more than 4096 bytes is none (EINVAL)',
		],
	);
	t.deepEqual(stand.bugs, []);
});

test('after deinitialize the data is served no more', async t => {
	const {files} = await start();
	await files.write({path: 'control/deinitialize', offset: 0, data: bytesOf('true')});
	await t.throwsAsync(files.read({path: 'current/data', offset: 0, length: 1}), {
		code: 'failed',
		message: /deinitialized/,
	});
	await t.throwsAsync(files.write({path: 'current/data', offset: 0, data: bytesOf('x')}), {code: 'failed'});
	t.is(await text(files, 'control/deinitialize'), 'idle last-result:success\n');
});

test('readonly="yes"', async t => {
	const {files, medium} = await start({readonly: 'yes'});
	t.is((await files.describe({path: 'current/data'})).mode, 0o400);
	await t.throwsAsync(files.write({path: 'current/data', offset: 0, data: bytesOf('x')}), {code: 'not_permitted'});
	t.is(medium.image[0], 0);
});

test('wrong configurations are refused', t => {
	t.false(vfs.config.safeParse({mount: ''}).success);
	t.false(vfs.config.safeParse({allow_other: 'maybe'}).success);
	t.false(vfs.config.safeParse({mont: 'cbe'}).success);
	t.true(vfs.config.safeParse({mount: 'cbe', allow_other: 'yes', readonly: 'no'}).success);
});
