/** The `file_system` contract, sentence by sentence, over a finished device. */
import type {ExecutionContext} from 'ava';
import {fileSystem, transferByteLengthMax} from '../../components/sessions/file-system.js';
import vfs from '../../components/vfs/component.js';
import {SessionError, type Client} from '../../runtime/sdk/session.js';
import {startComponent, temporaryDirectory} from '../support/component-stand.js';
import {everyOperationHasCases, holdTo, type ContractCases} from '../support/contract-cases.js';
import {crash, filled, openDevice} from '../support/device-stand.js';
import {connectBy, sessionWays, type SessionWay} from '../support/session-ways.js';

type FileSystem = Client<typeof fileSystem>;

const blockCount = 256;
const byteLength = blockCount * 4096;
const data = 'current/data';

interface Stand {
	readonly client: FileSystem;
	readonly finished: Awaited<ReturnType<typeof openDevice>>;
	readonly stateDirectory: string;
	readonly bugs: readonly unknown[];
	close(): Promise<void>;
}

async function open(way: SessionWay): Promise<Stand> {
	const stateDirectory = temporaryDirectory();
	const finished = await openFinished(stateDirectory);
	const {running} = await startComponent(vfs, {sessions: {device: finished.device, control: finished.control}});
	const ends = connectBy(way, fileSystem, running as never);
	return {
		client: ends.client,
		finished,
		stateDirectory,
		get bugs() {
			return [...finished.bugs, ...ends.bugs];
		},
		async close() {
			await ends.close();
			await finished.stop();
		},
	};
}

async function openFinished(stateDirectory: string) {
	return openDevice(stateDirectory, {shape: {vbd_leaves: String(blockCount), ft_leaves: '400'}});
}

const bytesOf = (text: string) => new Uint8Array(Buffer.from(text));

async function text(client: FileSystem, path: string, offset = 0, length = 4096): Promise<string> {
	return Buffer.from((await client.read({path, offset, length})).data).toString();
}

async function write(client: FileSystem, path: string, content: string, offset = 0): Promise<void> {
	await client.write({path, offset, data: bytesOf(content)});
}

async function refuses(t: ExecutionContext, code: string, request: Promise<unknown>): Promise<void> {
	await t.throwsAsync(request, {instanceOf: SessionError, code});
}

const cases: ContractCases<Stand> = {
	async 'describe: name, kind, permission bits and length'(t, {client}) {
		t.like(await client.describe({path: '/'}), {kind: 'directory'});
		t.like(await client.describe({path: 'current'}), {name: 'current', kind: 'directory'});
		const file = await client.describe({path: data});
		t.like(file, {name: 'data', kind: 'file', byteLength, mode: 0o600, takesSecret: false});
		t.deepEqual(await client.describe({path: `/${data}`}), file);
	},

	async 'describe: tells what takes a secret'(t, {client}) {
		const {entries} = await client.list({path: 'control'});
		t.deepEqual(
			entries.flatMap(({name, takesSecret}) => (takesSecret ? name : [])),
			['unlock'],
		);
	},

	async 'list: the entries of a directory, as each describes itself'(t, {client}) {
		const {entries} = await client.list({path: '/'});
		t.deepEqual(
			entries.map(({name}) => name),
			['control', 'current', 'snapshots'],
		);
		for (const entry of entries) {
			t.deepEqual(await client.describe({path: entry.name}), entry);
		}

		t.deepEqual((await client.list({path: 'snapshots'})).entries, []);
	},

	async 'read: payload travels in the messages'(t, {client, finished}) {
		await finished.device.write({extents: [3, 1], data: filled(1, 65)});
		t.is(await text(client, data, 3 * 4096 - 1, 3), '\0AA');
	},

	async 'read: fewer bytes than asked for mean the end of the file'(t, {client}) {
		t.is((await client.read({path: data, offset: byteLength - 10, length: 4096})).data.length, 10);
		t.is((await client.read({path: data, offset: byteLength, length: 1})).data.length, 0);
		t.is((await client.read({path: data, offset: Number.MAX_SAFE_INTEGER, length: 1})).data.length, 0);
		const state = await text(client, 'control/rekey');
		t.is(await text(client, 'control/rekey', 2, 3), state.slice(2, 5));
	},

	async 'read: they come in `into` where the caller brings memory of that length'(t, {client}) {
		await write(client, data, 'hello');
		const into = new Uint8Array(8);
		const {data: read} = await client.read({path: data, offset: 0, length: 8, into});
		t.is(Buffer.from(read).toString(), 'hello\0\0\0');
	},

	async 'read: at most as much as the contract says'(t, {client}) {
		await refuses(t, 'bad_request', client.read({path: data, offset: 0, length: transferByteLengthMax + 1}));
		t.is((await client.read({path: data, offset: 0, length: transferByteLengthMax})).data.length, byteLength);
	},

	async 'write: from any byte on, and nothing else changes'(t, {client}) {
		await write(client, data, 'x'.repeat(5000), 4000);
		await write(client, data, 'hello', 4094);
		t.is(await text(client, data, 3998, 104), `\0\0${'x'.repeat(94)}hello${'x'.repeat(3)}`);
		t.is(await text(client, data, 8998, 4), 'xx\0\0');
	},

	async 'write: at most as much as the contract says'(t, {client}) {
		const content = new Uint8Array(transferByteLengthMax + 1);
		await refuses(t, 'bad_request', client.write({path: data, offset: 0, data: content}));
		await client.write({path: data, offset: 0, data: content.subarray(1)});
		t.is(await text(client, data, 0, 1), '\0');
	},

	async 'write: a command is carried out'(t, {client, finished}) {
		await write(client, data, 'hello');
		await write(client, 'control/create_snapshot', 'first\n');
		const {snapshots} = await finished.control.list_snapshots({});
		t.is(snapshots[0].name, 'first');
		const directory = `snapshots/${snapshots[0].generation}`;
		await write(client, data, 'later');
		t.is(await text(client, `${directory}/data`, 0, 5), 'hello');
		t.is(await text(client, `${directory}/name`), 'first\n');
	},

	async 'sync: once it replies, what was written before is durable'(t, {client, stateDirectory}) {
		await write(client, data, 'hello', 5000);
		await client.sync({path: data});
		const left = await openFinished(crash(stateDirectory));
		const content = filled(2, 9);
		await left.device.read({extents: [0, 2], data: content});
		await left.stop();
		t.is(content.toString('utf8', 5000, 5006), 'hello\0');
	},

	async 'not_found: there is no such file'(t, {client}) {
		for (const path of ['nothing', 'current/nothing', 'snapshots/7', 'snapshots/7/data', 'control/..']) {
			await refuses(t, 'not_found', client.describe({path}));
			await refuses(t, 'not_found', client.read({path, offset: 0, length: 1}));
			await refuses(t, 'not_found', client.write({path, offset: 0, data: bytesOf('x')}));
			await refuses(t, 'not_found', client.sync({path}));
		}
	},

	async 'not_a_directory: it is a file'(t, {client}) {
		await refuses(t, 'not_a_directory', client.list({path: data}));
		await refuses(t, 'not_a_directory', client.describe({path: `${data}/more`}));
	},

	async 'is_a_directory: it is no file'(t, {client}) {
		await refuses(t, 'is_a_directory', client.read({path: 'current', offset: 0, length: 1}));
		await refuses(t, 'is_a_directory', client.write({path: 'current', offset: 0, data: bytesOf('x')}));
		await refuses(t, 'is_a_directory', client.sync({path: '/'}));
	},

	async 'not_permitted: the file cannot be used like that'(t, {client, finished}) {
		const {generation} = await finished.control.create_snapshot({});
		await refuses(t, 'not_permitted', write(client, `snapshots/${generation}/data`, 'x'));
		await refuses(t, 'not_permitted', write(client, 'control/rekey_progress', 'true'));
	},

	async 'invalid: what was written is not understood; the message says what would be'(t, {client}) {
		await t.throwsAsync(write(client, 'control/rekey', 'maybe'), {code: 'invalid', message: /true/});
		await t.throwsAsync(write(client, 'control/extend', 'x'), {code: 'invalid', message: /tree/});
		await refuses(t, 'invalid', write(client, 'control/discard_snapshot', 'nothing'));
		t.is(await text(client, 'control/rekey'), 'idle last-result:none\n');
	},

	async 'busy: it cannot be done now'(t, {client, finished}) {
		await finished.device.write({extents: [0, 100], data: filled(100, 1)});
		await write(client, 'control/rekey', 'true');
		await finished.control.pause({operation: 'rekey'});
		await refuses(t, 'busy', write(client, 'control/extend', 'tree=vbd,blocks=100'));
	},

	async 'no_space: beyond the end of the file there is no room'(t, {client}) {
		await refuses(t, 'no_space', write(client, data, 'xy', byteLength - 1));
		await refuses(t, 'no_space', write(client, data, 'x', Number.MAX_SAFE_INTEGER));
		t.is(await text(client, data, byteLength - 1, 1), '\0');
	},

	async 'failed: the device serves no more'(t, {client}) {
		await write(client, 'control/deinitialize', 'true');
		await refuses(t, 'failed', client.read({path: data, offset: 0, length: 1}));
		await refuses(t, 'failed', write(client, data, 'x'));
		await refuses(t, 'failed', client.sync({path: data}));
	},
};

holdTo('vfs', {ways: sessionWays, open, cases});
everyOperationHasCases(fileSystem, cases);
