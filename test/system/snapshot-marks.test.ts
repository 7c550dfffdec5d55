/**
 * Names and times of snapshots on the real program: they are there after it was killed, on every way to them, and the
 * check knows them.
 */
import fs from 'node:fs';
import {join} from 'node:path';
import test from 'ava';
import {temporaryDirectory} from '../support/component-stand.js';
import {NbdPeer} from '../support/nbd-peer.js';
import {projectFolder, runRuntime, startRuntime} from '../support/runtime-process.js';

interface Listed {
	readonly generation: number;
	readonly name?: string | undefined;
	readonly time: string;
}

async function writeFirstBlock(state: string, value: number): Promise<void> {
	const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
	await peer.attach();
	await peer.write(0, Buffer.alloc(4096, value));
	peer.socket.destroy();
}

test('snapshots keep their names and times over a kill of the runtime', async t => {
	const folder = temporaryDirectory();
	const state = join(folder, 'state');
	const deployFile = join(folder, 'deploy.xml');
	fs.writeFileSync(deployFile, fs.readFileSync(join(projectFolder, 'deploy.xml'), 'utf8'));
	const run = async (...words: string[]) => runRuntime([...words, '--state', state]);
	const list = async () =>
		(JSON.parse((await run('snapshot', 'list', '--json')).output) as {snapshots: Listed[]}).snapshots.map(
			({generation, name, time}) => ({generation, name, time}),
		);
	const first = await startRuntime(deployFile, state);
	await writeFirstBlock(state, 1);
	t.is((await run('snapshot', 'create', 'before upgrade')).code, 0);
	await writeFirstBlock(state, 2);
	t.is((await run('snapshot', 'create')).code, 0);
	await writeFirstBlock(state, 3);
	const snapshots = await list();
	t.deepEqual(
		snapshots.map(({name}) => name),
		['before upgrade', undefined],
	);
	t.true(snapshots.every(({time}) => Math.abs(Date.parse(time) - Date.now()) < 600_000));
	await first.stop('SIGKILL');

	const second = await startRuntime(deployFile, state);
	try {
		t.deepEqual(await list(), snapshots);
		const shown = await run('shell', '-c', `cat snapshots/${snapshots[0].generation}/name`);
		t.is(shown.output, 'before upgrade\n');
		await writeFirstBlock(state, 4);
		t.is((await run('shell', '-c', 'echo after upgrade > control/create_snapshot')).code, 0);
		t.deepEqual(
			(await list()).map(({name}) => name),
			['before upgrade', undefined, 'after upgrade'],
		);
		t.is((await run('snapshot', 'revert', 'before upgrade')).code, 0);
		const peer = await NbdPeer.connect(join(state, 'nbd.sock'));
		await peer.attach({name: 'snapshots/after upgrade'});
		peer.socket.destroy();
		t.is((await run('snapshot', 'discard', 'after upgrade')).code, 0);
		const {code, output} = await run('snapshot', 'discard', 'after upgrade');
		t.is(code, 1);
		t.regex(output, /there is no snapshot "after upgrade"; did you mean "before upgrade"\?/);
	} finally {
		await second.stop();
	}

	const {code, output} = await runRuntime(['run', 'cbe_check', deployFile, '--state', state]);
	t.is(code, 0, output);
	t.regex(output, /no fault found/);
});
